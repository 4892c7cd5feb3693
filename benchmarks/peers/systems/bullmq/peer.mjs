// BullMQ: `node peer.mjs worker` runs the handlers, `node peer.mjs produce` obeys the bench's orders (see
// shared/producer.py).
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import { Marks } from './marks.mjs'

const url = new URL(process.env.PEER_REDIS)
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null }
const plan = process.env.PEER_PLAN
const PAD = 'x'.repeat(92)
const IN_FLIGHT = 32 // submissions of paced that may be under way at once
const now = () => process.hrtime.bigint()

async function work() {
  const marks = new Marks(process.env.PEER_MARKS, Number(process.env.PEER_TASKS))
  const kinds = {
    noop: () => {},
    nap: () => sleep(5),
    hold: async (n) => {
      while (!marks.released()) await sleep(100)
      marks.end(n)
    },
  }
  const worker = new Worker(
    'peer',
    async (job) => {
      marks.begin(job.data.n)
      await kinds[job.name](job.data.n)
    },
    {
      connection,
      concurrency: Number(process.env.PEER_SLOTS),
      removeOnComplete: { count: 0 },
      // A killed worker's jobs come back when their lock has run out and somebody looks.
      ...(plan === 'recovery' ? { lockDuration: 5000, stalledInterval: 5000 } : {}),
    },
  )
  worker.on('error', (error) => console.error(error))
  process.on('SIGTERM', async () => {
    await worker.close()
    marks.flush()
    process.exit(0)
  })
}

// In the plan urgent: priority 1 goes before 10, and jobs with a priority are kept in a sorted set.
const options = (to) => (plan === 'urgent' ? { priority: to === 'urgent' ? 1 : 10 } : {})

async function produce() {
  const queue = new Queue('peer', { connection, defaultJobOptions: { removeOnComplete: true } })
  await queue.waitUntilReady()
  const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n')
  say({ ready: true })
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line)
    const cpu = process.cpuUsage()
    const began = now()
    let answer = {}
    try {
      answer = await obey(queue, order)
    } catch (error) {
      console.error(error)
      answer = { error: String(error) }
    }
    const used = process.cpuUsage(cpu)
    say({ ...answer, seconds: Number(now() - began) / 1e9, cpu: (used.user + used.system) / 1e6 })
  }
  await queue.close()
}

async function obey(queue, { do: what, kind, first, count, rate, to }) {
  const goal = (n) => to[n % to.length]
  const one = (n) => queue.add(kind, { n, pad: PAD }, options(goal(n)))
  if (what === 'one') {
    for (let n = first; n < first + count; n++) await one(n)
    return {}
  }
  if (what === 'bulk') {
    for (let n = first; n < first + count; n += 1000) {
      const numbers = Array.from({ length: Math.min(1000, first + count - n) }, (_, i) => n + i)
      await queue.addBulk(numbers.map((i) => ({ name: kind, data: { n: i, pad: PAD }, opts: options(goal(i)) })))
    }
    return {}
  }
  const sent = [], late = [], underWay = [], waiting = []
  let free = IN_FLIGHT
  const began = Number(now()) + 10_000_000
  const submit = async (i) => {
    sent[i] = Number(now())
    late[i] = Math.max(0, Math.round(sent[i] - began - (i * 1e9) / rate))
    if (free === 0) await new Promise((resolve) => waiting.push(resolve))
    else free--
    try {
      await one(first + i)
    } finally {
      if (waiting.length) waiting.shift()()
      else free++
    }
  }
  while (underWay.length < count) {
    const wait = began + (underWay.length * 1e9) / rate - Number(now())
    if (wait > 0) await sleep(wait / 1e6)
    const due = Math.min(count, Math.floor(((Number(now()) - began) * rate) / 1e9) + 1)
    while (underWay.length < due) underWay.push(submit(underWay.length))
  }
  await Promise.all(underWay)
  return { sent, late }
}

await (process.argv[2] === 'produce' ? produce() : work())
