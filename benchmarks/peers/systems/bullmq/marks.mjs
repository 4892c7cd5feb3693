// This process's file of marks, laid out as in shared/marks.py. Node has no mapped memory, so marks are kept here
// and what changed is written at the end of each turn of the event loop.
import { existsSync, ftruncateSync, openSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const HEADER = 64

export class Marks {
  constructor(folder, tasks) {
    this.folder = folder
    this.tasks = tasks
    this.starts = new BigUint64Array(tasks)
    this.begun = new Uint8Array(tasks)
    this.ended = new Uint8Array(tasks)
    this.low = tasks
    this.high = -1
    this.due = false
    const draft = join(folder, `${process.pid}.new`)
    this.file = openSync(draft, 'wx+')
    ftruncateSync(this.file, HEADER + 10 * tasks)
    const head = Buffer.alloc(8)
    head.writeBigUInt64LE(BigInt(process.pid))
    writeSync(this.file, head, 0, 8, 0)
    renameSync(draft, join(folder, `${process.pid}.marks`))
  }

  begin(n) {
    if (this.starts[n] === 0n) this.starts[n] = process.hrtime.bigint()
    this.begun[n]++
    this.touch(n)
  }

  end(n) {
    this.ended[n]++
    this.touch(n)
  }

  released() {
    return existsSync(join(this.folder, 'release'))
  }

  touch(n) {
    if (n < this.low) this.low = n
    if (n > this.high) this.high = n
    if (!this.due) {
      this.due = true
      setImmediate(() => this.flush())
    }
  }

  flush() {
    this.due = false
    const { low, high, tasks } = this
    if (high < low) return
    const count = high + 1 - low
    writeSync(this.file, new Uint8Array(this.starts.buffer, 8 * low, 8 * count), 0, 8 * count, HEADER + 8 * low)
    writeSync(this.file, this.begun, low, count, HEADER + 8 * tasks + low)
    writeSync(this.file, this.ended, low, count, HEADER + 9 * tasks + low)
    this.low = tasks
    this.high = -1
  }
}
