// npm @libp2p/daemon-client, as published, drives two daemons of ours, whose
// sockets are the arguments.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'

// The client's dependencies want Node 22; this is all that Node 20 lacks.
Promise.withResolvers ??= function () {
  const all = {}
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }))
  return all
}

const { createClient } = await import('@libp2p/daemon-client')
const { multiaddr } = await import('@multiformats/multiaddr')
const { CID } = await import('multiformats/cid')
const { sha256 } = await import('multiformats/hashes/sha2')
const raw = await import('multiformats/codecs/raw')

const DEADLINE = 30_000
const PROTOCOL = '/foreign/js/1.0.0'
const [a, b] = process.argv.slice(2, 4).map((path) => ({
  client: createClient(multiaddr(`/unix/${encodeURIComponent(path)}`))
}))

async function eventually (question, what) {
  const end = Date.now() + DEADLINE
  while (!(await question())) {
    assert(Date.now() < end, `still not after ${DEADLINE} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function collect (stream, length) {
  const parts = []
  let n = 0
  for await (const part of stream) {
    const bytes = part.subarray()
    parts.push(bytes)
    n += bytes.length
    if (n >= length) break
  }
  return Buffer.concat(parts)
}

async function all (iterable) {
  const list = []
  for await (const item of iterable) list.push(item)
  return list
}

async function contentId () {
  return CID.create(1, raw.code, await sha256.digest(randomBytes(16)))
}

async function echo (opener, side) {
  await side.client.registerStreamHandler(PROTOCOL, async (stream) => {
    const got = await collect(stream, 100_000)
    stream.send(got.reverse())
    await stream.close()
  })
  const sent = randomBytes(100_000)
  const stream = await opener.client.openStream(side.id, PROTOCOL)
  stream.send(sent)
  const back = await collect(stream, sent.length)
  assert(Buffer.from(sent).reverse().equals(back))
  await stream.close()
}

const checks = {
  async identify () {
    for (const side of [a, b]) {
      const { peerId, addrs } = await side.client.identify()
      Object.assign(side, { id: peerId, addrs })
      assert(addrs.length > 0)
    }
  },
  async 'connect and list peers' () {
    await a.client.connect(b.id, b.addrs)
    const listed = await a.client.listPeers()
    assert(listed.some((p) => p.equals(b.id)))
  },
  async 'stream from a to a handler of b' () { await echo(a, b) },
  async 'stream from b to a handler of a' () { await echo(b, a) },
  async 'stream nobody handles is refused' () {
    await assert.rejects(a.client.openStream(b.id, '/foreign/none/1'), /none/)
  },
  async 'dht put and get' () {
    const [key, value] = [randomBytes(16), randomBytes(100)]
    await a.client.dht.put(key, value)
    assert(Buffer.from(await b.client.dht.get(key)).equals(value))
    await assert.rejects(b.client.dht.get(randomBytes(16)))
  },
  async 'dht provide and find providers' () {
    const cid = await contentId()
    await a.client.dht.provide(cid)
    const found = await all(b.client.dht.findProviders(cid, 1))
    assert(found.some((p) => p.id.equals(a.id)))
    assert.equal((await all(b.client.dht.findProviders(await contentId(), 1))).length, 0)
  },
  async 'dht find peer' () {
    const found = await a.client.dht.findPeer(b.id)
    assert(found.id.equals(b.id) && found.multiaddrs.length > 0)
  },
  async 'dht closest peers' () {
    const found = await all(a.client.dht.getClosestPeers(b.id.toMultihash().bytes))
    assert(found.some((p) => p.id.equals(b.id)))
  },
  async 'dht public key' () {
    assert((await a.client.dht.getPublicKey(b.id)).length > 0)
  },
  async pubsub () {
    const topic = 'foreign-js'
    const subscription = await b.client.pubsub.subscribe(topic)
    assert((await b.client.pubsub.getTopics()).includes(topic))
    await eventually(async () => {
      const peers = await a.client.pubsub.getSubscribers(topic)
      return peers.some((p) => p.equals(b.id))
    }, 'a knows that b subscribes')
    await a.client.pubsub.publish(topic, Buffer.from('hello'))
    for await (const message of subscription.messages()) {
      assert.equal(Buffer.from(message.data).toString(), 'hello')
      assert.deepEqual(message.topicIDs, [topic])
      break
    }
    await subscription.cancel()
    await eventually(
      async () => !(await b.client.pubsub.getTopics()).includes(topic),
      'closing the connection unsubscribes'
    )
  }
}

let passed = 0
let failed = 0
for (const [name, check] of Object.entries(checks)) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error('takes too long')), 2 * DEADLINE)
  })
  try {
    await Promise.race([check(), late])
    passed++
    console.log(`ok      ${name}`)
  } catch (error) {
    failed++
    console.log(`FAILED  ${name}: ${error.stack}`)
  }
  clearTimeout(timer)
}
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
