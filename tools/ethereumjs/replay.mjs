// Runs transactions on @ethereumjs/vm and prints the gas of each, as JSON.
// Standard input: {"hardfork": "prague", "wealth": wei, "transactions": [{timestamp, sender, to,
// value, data}, ...]}, numbers as strings; addresses and data in hex without 0x. Set-up: npm ci
import { createBlock } from '@ethereumjs/block'
import { Common, Mainnet } from '@ethereumjs/common'
import { createLegacyTx } from '@ethereumjs/tx'
import { createAccount, createAddressFromString } from '@ethereumjs/util'
import { createVM, runTx } from '@ethereumjs/vm'
import { readFileSync } from 'node:fs'

const GAS_LIMIT = 16_777_216n
const BASE_FEE = 1_000_000_000n

const given = JSON.parse(readFileSync(0, 'utf8'))
const common = new Common({ chain: Mainnet, hardfork: given.hardfork })
const vm = await createVM({ common })
const nonces = new Map()
const used = []
for (const transaction of given.transactions) {
  const sender = createAddressFromString('0x' + transaction.sender)
  const nonce = nonces.get(transaction.sender) ?? 0n
  if (nonce === 0n) {
    const balance = (await vm.stateManager.getAccount(sender))?.balance ?? 0n
    await vm.stateManager.putAccount(sender, createAccount({ balance: balance + BigInt(given.wealth) }))
  }
  nonces.set(transaction.sender, nonce + 1n)
  const tx = createLegacyTx(
    {
      nonce,
      gasPrice: BASE_FEE,
      gasLimit: GAS_LIMIT,
      to: transaction.to === '' ? undefined : '0x' + transaction.to,
      value: BigInt(transaction.value),
      data: '0x' + transaction.data,
    },
    { common, freeze: false },
  )
  tx.getSenderAddress = () => sender // a signature is neither needed nor part of the gas
  const header = {
    number: 1n,
    timestamp: BigInt(transaction.timestamp),
    gasLimit: 60_000_000n,
    baseFeePerGas: BASE_FEE,
  }
  const block = createBlock({ header }, { common, skipConsensusFormatValidation: true })
  const result = await runTx(vm, { tx, block })
  if (result.execResult.exceptionError) {
    throw new Error(`transaction ${used.length} failed: ${result.execResult.exceptionError.error}`)
  }
  used.push(Number(result.totalGasSpent))
}
console.log(JSON.stringify(used))
