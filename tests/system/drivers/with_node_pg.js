// node-pg on a leash: one JSON request a line comes in, one answer a line goes out.
'use strict'

const readline = require('readline')
const { Client, types } = require('pg')

const BIGINT = 20 // a text to the driver, since some have no exact number in this language
types.setTypeParser(BIGINT, Number)

let config
let client
let notices = []

const inward = (value) => (value !== null && value.bytes !== undefined ? Buffer.from(value.bytes, 'hex') : value)

// A value of the driver's in the form that all drivers answer with.
function outward(value) {
  if (value instanceof Date) return value.toISOString()
  return Buffer.isBuffer(value) ? { bytes: value.toString('hex') } : value
}

const about = (fault) => ({
  error: { class: fault.constructor.name, sqlstate: fault.code, message: fault.message, hint: fault.hint || null },
})

function described(step) {
  const query = { text: step.sql, rowMode: 'array', binary: step.binary || false }
  if (step.values) query.values = step.values.map(inward)
  if (step.prepare) query.name = step.prepare
  return query
}

async function execute(step) {
  try {
    const result = await client.query(described(step))
    const columns = result.fields.map((field) => field.name)
    return { tag: result.command, columns, rows: result.rows.map((row) => row.map(outward)) }
  } catch (fault) {
    return about(fault)
  }
}

// `next` gives the test's next line, for an operation that waits for one.
const operations = {
  async connect(request) {
    const { port, user, database } = request
    const ssl = request.sslmode === 'require' ? { rejectUnauthorized: false } : false
    config = { host: '127.0.0.1', port, user, database, ssl }
    client = new Client(config)
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
  async batch(request) {
    await Promise.all(request.rows.map((row) => client.query(request.sql, row)))
    return {}
  },
  async several(request) {
    await client.query(request.sql)
    return {}
  },
  async transaction(request) {
    await client.query('begin')
    const answers = []
    for (const step of request.steps) answers.push(await execute(step))
    await client.query('rollback')
    return { answers }
  },
  // The driver's own cancelling wants the query object, and a second client for the request.
  async cancel(request, next) {
    const { Query } = require('pg')
    const query = new Query(request.sql)
    const ended = new Promise((resolve) => {
      query.on('error', (fault) => resolve(about(fault)))
      query.on('end', () => resolve({ rows: [] }))
    })
    client.query(query)
    await next()
    new Client(config).cancel(client, query)
    return ended
  },
}

async function main() {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const next = () => lines.next()
  for (let line = await next(); !line.done; line = await next()) {
    const request = JSON.parse(line.value)
    process.stdout.write(JSON.stringify(await operations[request.op](request, next)) + '\n')
  }
  await client.end()
}

main()
