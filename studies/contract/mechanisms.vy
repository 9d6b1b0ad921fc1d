# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title Mechanisms beside the uniform auction, on the same accounts and books
@notice Pay-as-bid is cleared here; a clearing that was found elsewhere (a game's, a decomposition's)
        is checked against the book. Either leaves what each account trades and is owed for it.
@dev A deal is one word: energy 128 | money 128 bits, two signed numbers in two's complement. A fill is
     one word: price 64 | energy 64 bits, one for each order of the book in order of arrival.
"""

import market

initializes: market
exports: market.__interface__

SIDE: constant(uint256) = 256
MASK_64: constant(uint256) = 2**64 - 1
MASK_96: constant(uint256) = 2**96 - 1
MASK_128: constant(uint256) = 2**128 - 1
FLAG: constant(uint256) = 2**255

deals: HashMap[uint256, HashMap[uint256, uint256]]  # interval -> account -> deal


@deploy
def __init__(k_bp: uint256, penalty: uint256, slot_s: uint256, reveal_s: uint256, challenge_s: uint256):
    market.__init__(k_bp, penalty, slot_s, reveal_s, challenge_s)


@external
def clear_pairs(
    interval: uint256, bid_order: DynArray[uint256, SIDE], ask_order: DynArray[uint256, SIDE]
):
    """
    @notice Clear pay-as-bid: the best bid meets the best ask, each pair at its own price. The order
            of the book is given and checked, as in clear_hinted.
    """
    sizes: uint256 = market._closed(interval)
    assert len(bid_order) == sizes >> 32, "hint of another length"
    assert len(ask_order) == sizes & (2**32 - 1), "hint of another length"
    bids: DynArray[uint256, SIDE] = market._hinted(interval, True, bid_order)
    asks: DynArray[uint256, SIDE] = market._hinted(interval, False, ask_order)
    volume: uint256 = 0
    bid_key: uint256 = 0
    ask_key: uint256 = 0
    volume, bid_key, ask_key = market._cross(bids, asks)
    market.results[interval] = FLAG | volume
    bought: DynArray[uint256, SIDE] = market._fill(bids, bid_key, volume)
    sold: DynArray[uint256, SIDE] = market._fill(asks, ask_key, volume)
    i: uint256 = 0
    j: uint256 = 0
    energy: int256 = 0
    money: int256 = 0
    received: int256 = 0
    left: uint256 = 0
    sell_left: uint256 = sold[0] if len(sold) > 0 else 0
    for _: uint256 in range(2 * SIDE):
        if left == 0:
            if i > 0:
                self._deal(interval, bids[unsafe_sub(i, 1)] & MASK_96, -energy, -money)
            if i == len(bought):
                break
            left = bought[i]
            energy = convert(left, int256)
            money = 0
            i = unsafe_add(i, 1)
            continue
        if sell_left == 0:
            self._deal(interval, asks[j] & MASK_96, convert(sold[j], int256), received)
            received = 0
            j = unsafe_add(j, 1)
            sell_left = sold[j]
            continue
        both: uint256 = min(left, sell_left)
        price: uint256 = market._price(1, bids[unsafe_sub(i, 1)] >> 192, asks[j] >> 192)
        pays: int256 = convert(price * both, int256)
        money += pays
        received += pays
        left = unsafe_sub(left, both)
        sell_left = unsafe_sub(sell_left, both)
    if volume > 0:
        self._deal(interval, asks[j] & MASK_96, convert(sold[j], int256), received)
    log market.Cleared(interval=interval, price=0, volume=volume)


@external
def clear_checked(
    interval: uint256, bid_fills: DynArray[uint256, SIDE], ask_fills: DynArray[uint256, SIDE]
):
    """
    @notice Enter a clearing that was found elsewhere, if no order trades more than it offers or
            beyond its limit price, as much is bought as sold, and buyers pay what sellers receive.
            What they pay beyond it is the pool's.
    """
    sizes: uint256 = market._closed(interval)
    assert len(bid_fills) == sizes >> 32, "fills of another length"
    assert len(ask_fills) == sizes & (2**32 - 1), "fills of another length"
    bought: uint256 = 0
    paid: uint256 = 0
    for i: uint256 in range(len(bid_fills), bound=SIDE):
        energy: uint256 = bid_fills[i] & MASK_64
        if energy > 0:
            order: uint256 = market.books[interval][True][i]
            price: uint256 = bid_fills[i] >> 64
            assert energy <= (order >> 96) & MASK_64, "more than ordered"
            assert price <= MASK_64 - (order >> 192), "beyond the limit price"
            bought += energy
            paid += price * energy
            self._deal(
                interval, order & MASK_96, -convert(energy, int256), -convert(price * energy, int256)
            )
    sold: uint256 = 0
    received: uint256 = 0
    for i: uint256 in range(len(ask_fills), bound=SIDE):
        energy: uint256 = ask_fills[i] & MASK_64
        if energy > 0:
            order: uint256 = market.books[interval][False][i]
            price: uint256 = ask_fills[i] >> 64
            assert energy <= (order >> 96) & MASK_64, "more than ordered"
            assert price >= order >> 192, "beyond the limit price"
            sold += energy
            received += price * energy
            self._deal(
                interval, order & MASK_96, convert(energy, int256), convert(price * energy, int256)
            )
    assert bought == sold, "not as much bought as sold"
    assert paid >= received, "buyers pay less than sellers receive"
    if paid > received:
        market.balances[0] += convert(paid - received, int256)
    market.results[interval] = FLAG | bought
    log market.Cleared(interval=interval, price=0, volume=bought)


@external
def settle_deals(interval: uint256, readings: DynArray[uint256, 2 * SIDE]):
    """
    @notice Pay what was cleared here, less a penalty for each Wh metered beside it; see settle.
    """
    assert msg.sender == market.OPERATOR, "operator only"
    penalties: int256 = 0
    for word: uint256 in readings:
        account: uint256 = (word & ~FLAG) >> 128
        traded: int256 = 0
        money: int256 = 0
        traded, money = self._of(self.deals[interval][account])
        assert traded != 0, "no trade"
        market._once(1, interval, account)
        penalty: int256 = convert(market.PENALTY, int256) * abs(market._signed(word) - traded)
        market.balances[account] += money - penalty
        penalties += penalty
    market.balances[0] += penalties
    log market.Settled(interval=interval, seats=len(readings))


@external
@view
def deal(interval: uint256, account: uint256) -> (int256, int256):
    """
    @notice Wh that an account sells (negative: buys), and money that it is owed for them.
    """
    return self._of(self.deals[interval][account])


@internal
def _deal(interval: uint256, account: uint256, energy: int256, money: int256):
    if energy == 0:
        return
    before: uint256 = self.deals[interval][account]
    traded: int256 = 0
    owed: int256 = 0
    if before != 0:
        traded, owed = self._of(before)
    traded += energy
    owed += money
    self.deals[interval][account] = (self._bits(traded) << 128) | (self._bits(owed) & MASK_128)


@internal
@pure
def _bits(number: int256) -> uint256:
    return convert(convert(number, bytes32), uint256)


@internal
@pure
def _of(word: uint256) -> (int256, int256):
    energy: int256 = convert(convert(word, bytes32), int256) >> 128
    money: int256 = convert(convert(word << 128, bytes32), int256) >> 128
    return energy, money
