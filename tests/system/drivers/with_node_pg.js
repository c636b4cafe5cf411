// node-pg on a leash, for test_drivers.py: one JSON request a line comes in, one answer a line goes out.
'use strict'

const readline = require('readline')
const { Client } = require('pg')

let client
let notices = []

// A value of the driver's in the form that both drivers answer with.
const outward = (value) => (value instanceof Date ? value.toISOString() : value)

const about = (fault) => ({
  error: { class: fault.constructor.name, sqlstate: fault.code, message: fault.message, hint: fault.hint || null },
})

async function execute(step) {
  try {
    const query = { text: step.sql, rowMode: 'array', binary: step.binary || false }
    if (step.values) query.values = step.values
    if (step.prepare) query.name = step.prepare
    const result = await client.query(query)
    const columns = result.fields.map((field) => field.name)
    return { tag: result.command, columns, rows: result.rows.map((row) => row.map(outward)) }
  } catch (fault) {
    return about(fault)
  }
}

const operations = {
  async connect(request) {
    const { port, user, database } = request
    client = new Client({ host: '127.0.0.1', port, user, database })
    client.on('notice', (notice) => notices.push([notice.severity, notice.code, notice.message]))
    await client.connect()
    return { version: require('pg/package.json').version }
  },
  async run(request) {
    notices = []
    const answer = await execute(request)
    return { ...answer, notices }
  },
  // Not awaited one by one: the driver has them all in its queue. Each stands for itself.
  async pipeline(request) {
    return { answers: await Promise.all(request.steps.map(execute)) }
  },
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    process.stdout.write(JSON.stringify(await operations[request.op](request)) + '\n')
  }
  await client.end()
}

main()
