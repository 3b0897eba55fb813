// js-libp2p as a peer: connects to the address given, joins the topic given, and
// tells what it hears, one line of JSON each. Lines on standard input are published.

import { createInterface } from 'node:readline'

// What Node 20 lacks and the packages want.
Promise.withResolvers ??= function () {
  const all = {}
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }))
  return all
}
globalThis.CustomEvent ??= class extends Event {
  constructor (type, init) { super(type, init); this.detail = init?.detail }
}

const { createLibp2p } = await import('libp2p')
const { tcp } = await import('@libp2p/tcp')
const { noise } = await import('@libp2p/noise')
const { yamux } = await import('@libp2p/yamux')
const { identify } = await import('@libp2p/identify')
const { gossipsub } = await import('@libp2p/gossipsub')
const { multiaddr } = await import('@multiformats/multiaddr')

const [address, topic] = process.argv.slice(2, 4)
const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    // Its score must not be what a quiet test topic makes of it.
    pubsub: gossipsub({ heartbeatInterval: 200 })
  }
})
const { pubsub } = node.services
pubsub.addEventListener('message', ({ detail }) => {
  tell({ heard: Buffer.from(detail.data).toString(), from: detail.from?.toString() })
})
node.addEventListener('peer:disconnect', ({ detail }) => tell({ lost: detail.toString() }))
pubsub.subscribe(topic)
await node.dial(multiaddr(address))
tell({ id: node.peerId.toString() })
for await (const line of createInterface({ input: process.stdin })) {
  await pubsub.publish(topic, Buffer.from(line))
}
await node.stop()
