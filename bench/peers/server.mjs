// graphql-ws on ws, for comparison: the same message as the product's, and a bounded queue per subscriber.
// node server.mjs PORT; GET /flood makes changes as fast as subscribers take them, /tick five a second, /stop none.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

const QUEUE_MAX = 64;
const schema = buildSchema(`
  type Money { amount: String! asset: String! }
  type Balance { available: Money! posted: Money! pending: Money! version: Int! asOf: String! }
  type Account { id: ID! }
  type Cause { eventId: ID! eventType: String! correlationId: ID! }
  type BalanceChange { account: Account! balance: Balance! position: String! cause: Cause }
  type Query { ok: Boolean }
  type Subscription { balanceChanged(accountIds: [ID!]!): BalanceChange! }
`);
const subscribers = new Map(); // account -> set of queues
const versions = new Map();

class Queue {
  items = [];
  taker = null;
  room = null;
  put(item) {
    if (this.taker) { const take = this.taker; this.taker = null; take(item); return undefined; }
    this.items.push(item);
    if (this.items.length < QUEUE_MAX) return undefined;
    return new Promise((resolve) => { this.room = resolve; });
  }
  next() {
    const item = this.items.shift();
    if (this.room && this.items.length < QUEUE_MAX) { const room = this.room; this.room = null; room(); }
    return item ?? new Promise((resolve) => { this.taker = resolve; });
  }
}

function change(account, version) {
  const money = (amount) => ({ amount, asset: 'EUR' });
  const asOf = new Date(performance.timeOrigin + performance.now()).toISOString();
  return {
    balanceChanged: {
      account: { id: account },
      balance: { available: money('100.00'), posted: money('100.00'), pending: money('0.00'), version, asOf },
      position: String(version),
      cause: { eventId: randomUUID(), eventType: 'JournalPosted', correlationId: randomUUID() },
    },
  };
}

async function* balanceChanged({ accountIds: [account] }) {
  const queue = new Queue();
  if (!versions.has(account)) { versions.set(account, 0); subscribers.set(account, new Set()); }
  yield change(account, versions.get(account));
  subscribers.get(account).add(queue);
  try { while (true) yield await queue.next(); } finally { subscribers.get(account).delete(queue); queue.room?.(); }
}

let making = 0;
async function make(run, pauseMs) {
  const accounts = [...subscribers.keys()].filter((account) => subscribers.get(account).size);
  while (making === run) {
    for (const account of accounts) {
      versions.set(account, versions.get(account) + 1);
      const made = change(account, versions.get(account));
      for (const queue of subscribers.get(account)) { const room = queue.put(made); if (room) await room; }
    }
    await new Promise((resolve) => (pauseMs ? setTimeout(resolve, pauseMs) : setImmediate(resolve)));
  }
}

const server = createServer((request, response) => {
  making += 1;
  if (request.url.startsWith('/flood')) make(making, 0);
  if (request.url.startsWith('/tick')) make(making, 200);
  response.end('ok');
});
useServer(
  { schema, roots: { subscription: { balanceChanged } } },
  new WebSocketServer({ server, path: '/graphql' }),
);
server.listen(Number(process.argv[2]), '127.0.0.1');
