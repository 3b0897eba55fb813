// Makes unixfs-v1-2025.json and foreign.json with the JavaScript importer of
// IPFS, an implementation that shares no code with this crate:
//
//   cd $(mktemp -d) && npm init -y && npm install ipfs-unixfs-importer@17 blockstore-core@7
//   cp .../tests/vectors/generate.mjs . && node generate.mjs .../tests/vectors
//
// Content: xorshift32 from the seed 0x9E3779B9 (x ^= x << 13; x ^= x >>> 17;
// x ^= x << 5), four bytes little endian a step, the first 1,048,583 bytes of
// that, repeated. The period is odd and over one chunk, so neighbouring chunks
// differ.
import { writeFileSync, readFileSync } from 'node:fs'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced, trickle } from 'ipfs-unixfs-importer/layout'

const out = process.argv[2] ?? '.'
const PERIOD = 1048583
const period = new Uint8Array(PERIOD)
let x = 0x9E3779B9
for (let i = 0; i < PERIOD; i += 4) {
  x ^= x << 13; x ^= x >>> 17; x ^= x << 5
  for (let j = 0; j < 4 && i + j < PERIOD; j++) period[i + j] = (x >>> (8 * j)) & 0xff
}

async function * content (size) {
  while (size > 0) {
    const n = Math.min(size, PERIOD)
    yield period.slice(0, n)
    size -= n
  }
}

// Counts blocks instead of keeping them: the largest file here is over 1 GiB.
class Counter {
  keep = new Map(); cids = new Set()
  constructor (keep) { this.keeping = keep }
  async put (cid, bytes) { this.cids.add(cid.toString()); if (this.keeping) this.keep.set(cid.toString(), bytes); return cid }
  async get () { throw new Error('not kept') }
  async has () { return false }
}

async function add (size, chunk, links, options = {}, keep = false) {
  const store = new Counter(keep)
  let last
  for await (const entry of importer([{ content: content(size) }], store, {
    rawLeaves: true,
    cidVersion: 1,
    reduceSingleLeafToSelf: true,
    chunker: fixedSize({ chunkSize: chunk }),
    layout: balanced({ maxChildrenPerNode: links }),
    wrapWithDirectory: false,
    ...options
  })) last = entry
  return { size, chunk, links, cid: last.cid.toString(), blocks: store.cids.size, store }
}

const MiB = 1048576
const files = []
for (const [size, chunk, links] of [
  [0, MiB, 1024], [1, MiB, 1024], [MiB - 1, MiB, 1024], [MiB, MiB, 1024], [MiB + 1, MiB, 1024],
  [3 * MiB + 12345, MiB, 1024],
  [1024 * MiB, MiB, 1024], [1024 * MiB + 1, MiB, 1024], [1025 * MiB, MiB, 1024],
  // The same layout with small numbers, for three and four levels.
  [30, 10, 3], [31, 10, 3], [90, 10, 3], [91, 10, 3], [270, 10, 3], [271, 10, 3], [275, 10, 3],
  [1024, 1, 1024], [1025, 1, 1024], [1024 * 1024 + 1, 1, 1024]
]) {
  const { store, ...row } = await add(size, chunk, links)
  console.error(row)
  files.push(row)
}
const version = JSON.parse(readFileSync('node_modules/ipfs-unixfs-importer/package.json')).version
const importerName = `ipfs-unixfs-importer ${version}`
writeFileSync(`${out}/unixfs-v1-2025.json`, JSON.stringify({ importer: importerName, files }, null, 1) + '\n')

// Trees of other profiles, whole: CIDv0 with dag-pb leaves, and the trickle
// layout, in which one node has both content of its own and children.
const foreign = []
for (const [name, size, chunk, links, options] of [
  ['cidv0, dag-pb leaves, 174 links', 2000, 10, 174, { rawLeaves: false, cidVersion: 0 }],
  ['cidv0, one dag-pb leaf', 9, 10, 174, { rawLeaves: false, cidVersion: 0 }],
  ['cidv0, raw leaves in a dag-pb leaf type', 50, 10, 174, { rawLeaves: false, cidVersion: 0, leafType: 'raw' }],
  ['cidv1, empty, dag-pb', 0, 10, 174, { rawLeaves: false }],
  ['trickle', 300, 10, 4, { layout: trickle({ layerRepeat: 2, maxChildrenPerNode: 4 }) }]
]) {
  const { store, ...row } = await add(size, chunk, links, options, true)
  foreign.push({ name, ...row, data: [...store.keep].map(([cid, bytes]) => [cid, Buffer.from(bytes).toString('hex')]) })
}
// A file with mode and time, and a folder: what `get` must read and what it must refuse.
{
  const store = new Counter(true)
  let last
  for await (const e of importer([{ path: 'a.txt', content: content(25), mode: 0o644, mtime: { secs: 1700000000n, nsecs: 5 } }], store, { rawLeaves: true, cidVersion: 1, chunker: fixedSize({ chunkSize: 10 }), wrapWithDirectory: true })) {
    last = e
    if (e.path === 'a.txt') foreign.push({ name: 'file with mode and mtime', size: 25, cid: e.cid.toString(), data: [...store.keep].map(([cid, bytes]) => [cid, Buffer.from(bytes).toString('hex')]) })
  }
  foreign.push({ name: 'directory', size: 25, directory: true, cid: last.cid.toString(), data: [...store.keep].map(([cid, bytes]) => [cid, Buffer.from(bytes).toString('hex')]) })
}
writeFileSync(`${out}/foreign.json`, JSON.stringify({ importer: importerName, trees: foreign }) + '\n')
