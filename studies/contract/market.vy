# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
"""
@title Double auction of a local energy market, with settlement
@notice Prices are in millionths of the currency per kWh, energy in Wh, so that money, their product,
        is in billionths of the currency and exact. Interval t closes at t * SLOT_S seconds.
@dev An order is one word: key 64 | sequence 32 | energy 64 | account 96 bits. The key is an ask's
     price, or what is missing from a bid's to 2**64 - 1: the better order is always the smaller
     word, and the earlier one where prices are equal. Account 0 takes penalties, pays rewards.
"""

SIDE: constant(uint256) = 256  # orders on one side of a book
PAGE: constant(uint256) = 256  # accounts that share one word of marks
MASK_64: constant(uint256) = 2**64 - 1
MASK_96: constant(uint256) = 2**96 - 1
MASK_128: constant(uint256) = 2**128 - 1
FLAG: constant(uint256) = 2**255
CLOSED: constant(uint256) = max_value(uint256)
SETTLED: constant(uint256) = 1
CLAIMED: constant(uint256) = 2
REWARDED: constant(uint256) = 3

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
ORDER_TYPE: constant(bytes32) = keccak256(
    "Order(address trader,uint256 interval,bool isBid,uint256 price,uint256 energy,uint256 nonce)"
)
STATE_TYPE: constant(bytes32) = keccak256(
    "ChannelState(bytes32 channel,uint256 sequence,uint256 paid)"
)
CLOSE_TYPE: constant(bytes32) = keccak256("ChannelClose(bytes32 channel,uint256 paid)")

OPERATOR: immutable(address)
DOMAIN: immutable(bytes32)
K_BP: immutable(uint256)  # k of the auction in hundredths of a per cent
PENALTY: immutable(uint256)  # price of each Wh that differs from the trade
SLOT_S: immutable(uint256)
REVEAL_S: immutable(uint256)  # time to open hidden orders after an interval has closed
CHALLENGE_S: immutable(uint256)  # time to answer a disputed channel

account_count: public(uint256)
accounts: HashMap[address, uint256]  # nonce << 96 | account
book_sizes: HashMap[uint256, uint256]  # interval -> bids << 32 | asks
books: HashMap[uint256, HashMap[bool, HashMap[uint256, uint256]]]  # interval -> is bid -> sequence
commitments: HashMap[uint256, HashMap[address, bytes32]]
results: HashMap[uint256, uint256]  # interval -> FLAG | price << 128 | volume
trades: public(HashMap[uint256, HashMap[uint256, int256]])  # interval -> account -> Wh sold
balances: public(HashMap[uint256, int256])
marks: HashMap[uint256, HashMap[uint256, HashMap[uint256, uint256]]]  # what -> interval -> page
roots: public(HashMap[uint256, bytes32])
rates: public(HashMap[uint256, uint256])  # interval -> reward for a Wh less than the baseline
deposits: public(HashMap[bytes32, uint256])  # channel -> wei
disputes: public(HashMap[bytes32, uint256])  # channel -> sequence << 192 | until << 128 | paid

event Cleared:
    interval: indexed(uint256)
    price: uint256
    volume: uint256

event Settled:
    interval: indexed(uint256)
    seats: uint256

event Root:
    interval: indexed(uint256)
    root: bytes32


@deploy
def __init__(k_bp: uint256, penalty: uint256, slot_s: uint256, reveal_s: uint256, challenge_s: uint256):
    assert k_bp <= 10000, "k beyond 1"
    assert slot_s > 0, "slot of no length"
    OPERATOR = msg.sender
    K_BP = k_bp
    PENALTY = penalty
    SLOT_S = slot_s
    REVEAL_S = reveal_s
    CHALLENGE_S = challenge_s
    DOMAIN = keccak256(
        abi_encode(DOMAIN_TYPE, keccak256("GridBazaar"), keccak256("1"), chain.id, self)
    )


# Accounts and orders


@external
def register():
    assert self.accounts[msg.sender] == 0, "registered already"
    account: uint256 = self.account_count + 1
    self.account_count = account
    self.accounts[msg.sender] = account


@external
def place_order(interval: uint256, is_bid: bool, price: uint256, energy: uint256):
    assert block.timestamp < interval * SLOT_S, "interval closed"
    self._enter(interval, is_bid, price, energy, self.accounts[msg.sender] & MASK_96)


@external
def place_signed_order(
    trader: address,
    interval: uint256,
    is_bid: bool,
    price: uint256,
    energy: uint256,
    v: uint256,
    r: uint256,
    s: uint256,
):
    """
    @notice Enter an order that `trader` signed (EIP-712) with its present nonce, for anybody.
    """
    assert block.timestamp < interval * SLOT_S, "interval closed"
    entry: uint256 = self.accounts[trader]
    content: bytes32 = keccak256(
        abi_encode(ORDER_TYPE, trader, interval, is_bid, price, energy, entry >> 96)
    )
    assert self._signer(content, v, r, s) == trader, "not signed by the trader"
    self.accounts[trader] = entry + (1 << 96)
    self._enter(interval, is_bid, price, energy, entry & MASK_96)


@external
def commit_order(interval: uint256, commitment: bytes32):
    assert block.timestamp < interval * SLOT_S, "interval closed"
    self.commitments[interval][msg.sender] = commitment


@external
def reveal_order(interval: uint256, is_bid: bool, price: uint256, energy: uint256, salt: bytes32):
    """
    @notice Open a commitment: keccak256 of sender, interval, side, price, energy and salt.
    """
    assert block.timestamp >= interval * SLOT_S, "interval open"
    assert block.timestamp < interval * SLOT_S + REVEAL_S, "time to reveal is over"
    hidden: bytes32 = keccak256(abi_encode(msg.sender, interval, is_bid, price, energy, salt))
    assert self.commitments[interval][msg.sender] == hidden, "not what was committed"
    self.commitments[interval][msg.sender] = empty(bytes32)
    self._enter(interval, is_bid, price, energy, self.accounts[msg.sender] & MASK_96)


@internal
def _enter(interval: uint256, is_bid: bool, price: uint256, energy: uint256, account: uint256):
    assert account != 0, "register first"
    assert energy > 0 and energy <= MASK_64 and price <= MASK_64, "price or energy out of range"
    sizes: uint256 = self.book_sizes[interval]
    if is_bid:
        sequence: uint256 = sizes >> 32
        assert sequence < SIDE, "book full"
        word: uint256 = ((MASK_64 - price) << 192) | (sequence << 160) | (energy << 96) | account
        self.books[interval][True][sequence] = word
        self.book_sizes[interval] = sizes + (1 << 32)
    else:
        sequence: uint256 = sizes & (2**32 - 1)
        assert sequence < SIDE, "book full"
        word: uint256 = (price << 192) | (sequence << 160) | (energy << 96) | account
        self.books[interval][False][sequence] = word
        self.book_sizes[interval] = sizes + 1


# Clearing


@external
def clear(interval: uint256):
    """
    @notice Sort the book here and clear it.
    """
    sizes: uint256 = self._closed(interval)
    bids: DynArray[uint256, SIDE] = self._sorted(self._side(interval, True, sizes >> 32))
    asks: DynArray[uint256, SIDE] = self._sorted(self._side(interval, False, sizes & (2**32 - 1)))
    self._clear(interval, bids, asks)


@external
def clear_hinted(
    interval: uint256, bid_order: DynArray[uint256, SIDE], ask_order: DynArray[uint256, SIDE]
):
    """
    @notice Clear a book whose order, the better first, the caller found; it is checked.
    """
    sizes: uint256 = self._closed(interval)
    assert len(bid_order) == sizes >> 32, "hint of another length"
    assert len(ask_order) == sizes & (2**32 - 1), "hint of another length"
    bids: DynArray[uint256, SIDE] = self._hinted(interval, True, bid_order)
    asks: DynArray[uint256, SIDE] = self._hinted(interval, False, ask_order)
    self._clear(interval, bids, asks)


@external
@view
def clear_book(
    bid_prices: DynArray[uint256, SIDE],
    bid_energy: DynArray[uint256, SIDE],
    ask_prices: DynArray[uint256, SIDE],
    ask_energy: DynArray[uint256, SIDE],
) -> (uint256, uint256, DynArray[uint256, SIDE], DynArray[uint256, SIDE]):
    """
    @notice Price, volume and the energy of each bid and ask if this were an interval's book.
    """
    bids: DynArray[uint256, SIDE] = self._words(bid_prices, bid_energy, MASK_64)
    asks: DynArray[uint256, SIDE] = self._words(ask_prices, ask_energy, 0)
    bids = self._sorted(bids)
    asks = self._sorted(asks)
    volume: uint256 = 0
    bid_key: uint256 = 0
    ask_key: uint256 = 0
    volume, bid_key, ask_key = self._cross(bids, asks)
    bought: DynArray[uint256, SIDE] = self._fill(bids, bid_key, volume)
    bought = self._unsorted(bids, bought)
    sold: DynArray[uint256, SIDE] = self._fill(asks, ask_key, volume)
    sold = self._unsorted(asks, sold)
    return self._price(volume, bid_key, ask_key), volume, bought, sold


@internal
@view
def _closed(interval: uint256) -> uint256:
    assert block.timestamp >= interval * SLOT_S + REVEAL_S, "interval open"
    assert self.results[interval] == 0, "cleared already"
    return self.book_sizes[interval]


@internal
@view
def _side(interval: uint256, is_bid: bool, size: uint256) -> DynArray[uint256, SIDE]:
    words: DynArray[uint256, SIDE] = []
    for i: uint256 in range(size, bound=SIDE):
        words.append(self.books[interval][is_bid][i])
    return words


@internal
@view
def _hinted(
    interval: uint256, is_bid: bool, order: DynArray[uint256, SIDE]
) -> DynArray[uint256, SIDE]:
    # Words differ, and positions beyond the book hold zero: words that rise from above zero, as
    # many as the book has, are the book's own, each once.
    words: DynArray[uint256, SIDE] = []
    before: uint256 = 0
    for i: uint256 in order:
        word: uint256 = self.books[interval][is_bid][i]
        assert word > before, "hint out of order"
        words.append(word)
        before = word
    return words


@internal
@pure
def _sorted(given: DynArray[uint256, SIDE]) -> DynArray[uint256, SIDE]:
    words: DynArray[uint256, SIDE] = given
    for i: uint256 in range(len(words), bound=SIDE):
        word: uint256 = words[i]
        place: uint256 = i
        for _: uint256 in range(i, bound=SIDE):
            before: uint256 = words[unsafe_sub(place, 1)]
            if before <= word:
                break
            words[place] = before
            place = unsafe_sub(place, 1)
        words[place] = word
    return words


@internal
@pure
def _cross(
    bids: DynArray[uint256, SIDE], asks: DynArray[uint256, SIDE]
) -> (uint256, uint256, uint256):
    # The largest volume at which no ask is above a bid, and the keys of the last pair that trades.
    volume: uint256 = 0
    bid_key: uint256 = 0
    ask_key: uint256 = 0
    i: uint256 = 0
    j: uint256 = 0
    bid: uint256 = 0
    ask: uint256 = 0
    bid_left: uint256 = 0
    ask_left: uint256 = 0
    for _: uint256 in range(2 * SIDE):
        if bid_left == 0:
            if i == len(bids):
                break
            bid = bids[i]
            bid_left = (bid >> 96) & MASK_64
            i = unsafe_add(i, 1)
        if ask_left == 0:
            if j == len(asks):
                break
            ask = asks[j]
            ask_left = (ask >> 96) & MASK_64
            j = unsafe_add(j, 1)
        if unsafe_add(bid >> 192, ask >> 192) > MASK_64:
            break
        bid_key = bid >> 192
        ask_key = ask >> 192
        both: uint256 = min(bid_left, ask_left)
        volume += both
        bid_left = unsafe_sub(bid_left, both)
        ask_left = unsafe_sub(ask_left, both)
    return volume, bid_key, ask_key


@internal
@pure
def _fill(
    words: DynArray[uint256, SIDE], key: uint256, volume: uint256
) -> DynArray[uint256, SIDE]:
    # Better than marginal: wholly. Marginal: pro rata, each getting what lifts the sum of those up
    # to it to its share rounded down, so that the shares add up and none is off by a whole Wh.
    fills: DynArray[uint256, SIDE] = []
    if volume == 0:
        return fills
    left: uint256 = volume
    marginal: uint256 = 0
    better: uint256 = 0
    for word: uint256 in words:
        if word >> 192 > key:
            break
        energy: uint256 = (word >> 96) & MASK_64
        if word >> 192 == key:
            marginal += energy
        else:
            left -= energy
            better += 1
        fills.append(energy)
    if left < marginal:
        reached: uint256 = 0
        given: uint256 = 0
        for i: uint256 in range(better, len(fills), bound=SIDE):
            reached += fills[i]
            upto: uint256 = left * reached // marginal
            fills[i] = upto - given
            given = upto
    return fills


@internal
@view
def _price(volume: uint256, bid_key: uint256, ask_key: uint256) -> uint256:
    if volume == 0:
        return 0
    return (K_BP * (MASK_64 - bid_key) + (10000 - K_BP) * ask_key) // 10000


@internal
def _clear(interval: uint256, bids: DynArray[uint256, SIDE], asks: DynArray[uint256, SIDE]):
    volume: uint256 = 0
    bid_key: uint256 = 0
    ask_key: uint256 = 0
    volume, bid_key, ask_key = self._cross(bids, asks)
    price: uint256 = self._price(volume, bid_key, ask_key)
    self.results[interval] = FLAG | (price << 128) | volume
    bought: DynArray[uint256, SIDE] = self._fill(bids, bid_key, volume)
    for i: uint256 in range(len(bought), bound=SIDE):
        if bought[i] > 0:
            self.trades[interval][bids[i] & MASK_96] -= convert(bought[i], int256)
    sold: DynArray[uint256, SIDE] = self._fill(asks, ask_key, volume)
    for i: uint256 in range(len(sold), bound=SIDE):
        if sold[i] > 0:
            self.trades[interval][asks[i] & MASK_96] += convert(sold[i], int256)
    log Cleared(interval=interval, price=price, volume=volume)


@internal
@pure
def _words(
    prices: DynArray[uint256, SIDE], energy: DynArray[uint256, SIDE], flip: uint256
) -> DynArray[uint256, SIDE]:
    assert len(prices) == len(energy), "a price and an energy for each order"
    words: DynArray[uint256, SIDE] = []
    for i: uint256 in range(len(prices), bound=SIDE):
        assert prices[i] <= MASK_64 and energy[i] > 0 and energy[i] <= MASK_64, "out of range"
        words.append(((prices[i] ^ flip) << 192) | (i << 160) | (energy[i] << 96))
    return words


@internal
@pure
def _unsorted(
    words: DynArray[uint256, SIDE], fills: DynArray[uint256, SIDE]
) -> DynArray[uint256, SIDE]:
    back: DynArray[uint256, SIDE] = words
    for i: uint256 in range(len(words), bound=SIDE):
        back[(words[i] >> 160) & (2**32 - 1)] = fills[i] if i < len(fills) else 0
    return back


# Settlement. A word of a batch is: sign 1 (set: negative) | account 127 | amount 128 bits.


@external
def settle(interval: uint256, readings: DynArray[uint256, 2 * SIDE]):
    """
    @notice Pay cleared trades at their price, less a penalty for each Wh metered beside the trade.
            A reading is net energy in Wh, positive sold.
    """
    assert msg.sender == OPERATOR, "operator only"
    price: int256 = convert((self.results[interval] ^ FLAG) >> 128, int256)
    penalties: int256 = 0
    for word: uint256 in readings:
        account: uint256 = (word & ~FLAG) >> 128
        traded: int256 = self.trades[interval][account]
        assert traded != 0, "no trade"
        self._once(SETTLED, interval, account)
        penalty: int256 = convert(PENALTY, int256) * abs(self._signed(word) - traded)
        self.balances[account] += price * traded - penalty
        penalties += penalty
    self.balances[0] += penalties
    log Settled(interval=interval, seats=len(readings))


@external
def settle_net(
    interval: uint256, price: uint256, volume: uint256, payments: DynArray[uint256, 2 * SIDE]
):
    """
    @notice Record an interval that was cleared elsewhere, and its net payments, which sum to zero.
    """
    assert msg.sender == OPERATOR, "operator only"
    assert price <= MASK_64 and volume <= MASK_128, "price or volume out of range"
    self._closed(interval)
    self.results[interval] = FLAG | (price << 128) | volume
    total: int256 = 0
    for word: uint256 in payments:
        payment: int256 = self._signed(word)
        self.balances[(word & ~FLAG) >> 128] += payment
        total += payment
    assert total == 0, "payments do not sum to zero"
    log Settled(interval=interval, seats=len(payments))


@external
def post_root(interval: uint256, root: bytes32):
    """
    @notice Post the Merkle root over an interval's payments. A leaf is keccak256 of interval, word
            and CLAIMED, a node keccak256 of its two children, the smaller first.
    """
    assert msg.sender == OPERATOR, "operator only"
    assert self.roots[interval] == empty(bytes32), "root posted already"
    self.roots[interval] = root
    log Root(interval=interval, root=root)


@external
def claim(interval: uint256, word: uint256, proof: DynArray[bytes32, 32]):
    """
    @notice Enter a payment under a posted root into its account's balance; anybody may.
    """
    node: bytes32 = keccak256(abi_encode(interval, word, CLAIMED))
    for other: bytes32 in proof:
        if convert(node, uint256) < convert(other, uint256):
            node = keccak256(concat(node, other))
        else:
            node = keccak256(concat(other, node))
    assert node == self.roots[interval], "not under the root"
    account: uint256 = (word & ~FLAG) >> 128
    self._once(CLAIMED, interval, account)
    self.balances[account] += self._signed(word)


@external
def offer_response(interval: uint256, rate: uint256):
    """
    @notice Offer a reward for each Wh that an account takes less than its baseline.
    """
    assert msg.sender == OPERATOR, "operator only"
    assert rate <= MASK_64, "rate out of range"
    assert block.timestamp < interval * SLOT_S, "interval closed"
    self.rates[interval] = rate


@external
def reward_response(interval: uint256, readings: DynArray[uint256, 2 * SIDE]):
    """
    @notice Pay the offered reward. A reading is one word: account 128 | baseline 64 | taken 64.
    """
    assert msg.sender == OPERATOR, "operator only"
    assert block.timestamp >= interval * SLOT_S, "interval open"
    rate: uint256 = self.rates[interval]
    assert rate > 0, "no reward offered"
    total: int256 = 0
    for word: uint256 in readings:
        account: uint256 = word >> 128
        self._once(REWARDED, interval, account)
        baseline: uint256 = (word >> 64) & MASK_64
        less: uint256 = baseline - min(baseline, word & MASK_64)
        reward: int256 = convert(rate * less, int256)
        self.balances[account] += reward
        total += reward
    self.balances[0] -= total
    log Settled(interval=interval, seats=len(readings))


@internal
def _once(what: uint256, interval: uint256, account: uint256):
    page: uint256 = account // PAGE
    marked: uint256 = self.marks[what][interval][page]
    mark: uint256 = 1 << (account % PAGE)
    assert marked & mark == 0, "done already"
    self.marks[what][interval][page] = marked | mark


@internal
@pure
def _signed(word: uint256) -> int256:
    amount: int256 = convert(word & MASK_128, int256)
    return -amount if word & FLAG != 0 else amount


# Payment channels: payer deposits, both sign states off the chain, the newest counts.


@external
@payable
def open_channel(peer: address, salt: uint256):
    channel: bytes32 = keccak256(abi_encode(msg.sender, peer, salt))
    assert peer != empty(address), "no peer"
    assert self.deposits[channel] == 0, "salt used before"
    assert msg.value > 0 and msg.value <= MASK_128, "deposit out of range"
    self.deposits[channel] = msg.value


@external
def close_channel(
    payer: address,
    peer: address,
    salt: uint256,
    paid: uint256,
    payer_signature: uint256[3],
    peer_signature: uint256[3],
):
    """
    @notice Pay out at once what both signed as the last state (v, r, s each).
    """
    channel: bytes32 = keccak256(abi_encode(payer, peer, salt))
    content: bytes32 = keccak256(abi_encode(CLOSE_TYPE, channel, paid))
    self._both_signed(content, payer, peer, payer_signature, peer_signature)
    self._pay_out(channel, payer, peer, paid)


@external
def dispute_channel(
    payer: address,
    peer: address,
    salt: uint256,
    sequence: uint256,
    paid: uint256,
    payer_signature: uint256[3],
    peer_signature: uint256[3],
):
    """
    @notice Post a signed state, the other side having CHALLENGE_S to answer by a newer one.
            Sequence 0 is the opening: nothing paid, signed by nobody.
    """
    channel: bytes32 = keccak256(abi_encode(payer, peer, salt))
    deposit: uint256 = self.deposits[channel]
    assert deposit != 0 and deposit != CLOSED, "no open channel"
    assert sequence <= MASK_64 and paid <= deposit, "state out of range"
    if sequence == 0:
        assert paid == 0, "nothing is paid at the opening"
    else:
        content: bytes32 = keccak256(abi_encode(STATE_TYPE, channel, sequence, paid))
        self._both_signed(content, payer, peer, payer_signature, peer_signature)
    posted: uint256 = self.disputes[channel]
    until: uint256 = block.timestamp + CHALLENGE_S
    if posted != 0:
        until = (posted >> 128) & MASK_64
        assert block.timestamp < until, "too late to answer"
        assert sequence > posted >> 192, "no newer state"
    self.disputes[channel] = (sequence << 192) | (until << 128) | paid


@external
def finish_channel(payer: address, peer: address, salt: uint256):
    """
    @notice Pay out a disputed channel once the time to answer is over.
    """
    channel: bytes32 = keccak256(abi_encode(payer, peer, salt))
    posted: uint256 = self.disputes[channel]
    assert posted != 0, "not disputed"
    assert block.timestamp >= (posted >> 128) & MASK_64, "time to answer"
    self._pay_out(channel, payer, peer, posted & MASK_128)


@internal
def _pay_out(channel: bytes32, payer: address, peer: address, paid: uint256):
    deposit: uint256 = self.deposits[channel]
    assert deposit != 0 and deposit != CLOSED, "no open channel"
    assert paid <= deposit, "more than deposited"
    self.deposits[channel] = CLOSED
    if paid < deposit:
        send(payer, deposit - paid)
    if paid > 0:
        send(peer, paid)


@internal
@view
def _both_signed(
    content: bytes32, payer: address, peer: address, first: uint256[3], second: uint256[3]
):
    assert self._signer(content, first[0], first[1], first[2]) == payer, "not signed by the payer"
    assert self._signer(content, second[0], second[1], second[2]) == peer, "not signed by the peer"


@internal
@view
def _signer(content: bytes32, v: uint256, r: uint256, s: uint256) -> address:
    signer: address = ecrecover(keccak256(concat(x"1901", DOMAIN, content)), v, r, s)
    assert signer != empty(address), "no signature"
    return signer


# What anybody may read


@external
@view
def account_of(owner: address) -> (uint256, uint256):
    """
    @notice Account, 0 if none, and the nonce of its next signed order.
    """
    return self.accounts[owner] & MASK_96, self.accounts[owner] >> 96


@external
@view
def result(interval: uint256) -> (bool, uint256, uint256):
    """
    @notice Whether the interval was cleared, its price and its volume.
    """
    word: uint256 = self.results[interval]
    return word != 0, (word & ~FLAG) >> 128, word & MASK_128
