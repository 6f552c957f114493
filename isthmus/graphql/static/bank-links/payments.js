/** Pay someone, answer for it, and watch what becomes of it. */
import { SignedOut, ask, button, follow, made } from './api.js';
import { CHALLENGE, asking, broughtBack } from './challenges.js';
import { showDevices } from './devices.js';

const PARTS = `fragment PaymentParts on Payment { id state amount { amount asset } payee { name account } reference
  ${CHALLENGE} failure { code message } payeeCheck { result warning warnings } history { state at } }`;
const VIEW = `query Payments { viewer {
  accounts(first: 50) { edges { node { id kind name asset ... on LedgerAccount { balance { available { amount } } } } } }
  payments(first: 10) { edges { node { id state amount { amount asset } payee { name } createdAt } } } } }`;
const PAY = 'mutation InitiatePayment($input: InitiatePaymentInput!) { initiatePayment(input: $input) { payment { id } errors { message } } }';
const CANCEL = 'mutation CancelPayment($input: CancelPaymentInput!) { cancelPayment(input: $input) { errors { message } } }';
const PAYMENT = `query Payment($id: ID!) { node(id: $id) { ...PaymentParts } } ${PARTS}`;
const PROGRESSED = 'subscription PaymentProgressed($paymentId: ID!) { paymentProgressed(paymentId: $paymentId) { state } }';

const [said, pay, section, what, warning, answering, steps, failure, list] =
  ['said', 'pay', 'payment', 'what', 'warning', 'answer', 'history', 'failure', 'payments'].map((id) => document.getElementById(id));

function failed(error) {
  if (error instanceof SignedOut) location.assign('/playground/sign-in?page=payments');
  said.textContent = error.message;
}

async function attempt(work) {
  said.textContent = '';
  try {
    await work();
  } catch (error) {
    failed(error);
  }
}

/** A wish under its key: what it answers, or why not. */
async function wish(mutation, input, idempotencyKey = crypto.randomUUID()) {
  const [answer] = Object.values(await ask(mutation, { input: { idempotencyKey, ...input } }));
  if (answer.errors.length) throw new Error(answer.errors[0].message);
  return answer;
}

/** The same until it is answered, or another thing is wished: who sends it again pays once. */
let key = crypto.randomUUID();
async function initiate(form) {
  const asset = pay.elements.from.selectedOptions[0].dataset.asset;
  const { from, amount, name, iban, sortCode, accountNumber, reference, method } = Object.fromEntries(form);
  const account = iban ? { iban } : { sortCode, accountNumber };
  const input = { fromAccountId: from, amount: { amount, asset }, payee: { name, account }, reference, method: method || null };
  const { payment } = await wish(PAY, input, key);
  key = crypto.randomUUID();
  await watch(payment.id);
  await overview();
}

/** Which payment is shown, and followed: one at a time, since a browser keeps few connections. */
let stop = new AbortController();
let shown = null;
async function watch(id) {
  stop.abort();
  stop = new AbortController();
  shown = id;
  answering.replaceChildren();
  asked = '';
  await show(id);
  void follow(PROGRESSED, () => void show(id, true).then(() => overview(true)).catch(failed), { variables: { paymentId: id }, signal: stop.signal });
}

/** What was asked for last is shown: answers may overtake each other. */
let turn = 0;
async function show(id, looksOn = false) {
  const mine = (turn += 1);
  const { node } = await ask(PAYMENT, { id }, looksOn);
  if (mine !== turn || id !== shown) return;
  section.hidden = false;
  what.textContent = `${node.amount.amount} ${node.amount.asset} to ${node.payee.name}: ${node.state}`;
  steps.replaceChildren(...node.history.map(({ state, at }) => made('li', `${new Date(at).toLocaleTimeString()} ${state}`)));
  const check = node.payeeCheck;
  warning.textContent = check ? [`Payee: ${check.result}.`, check.warning ?? '', ...check.warnings].join(' ') : '';
  failure.textContent = node.failure ? `${node.failure.code}: ${node.failure.message}` : '';
  showChallenge(node);
}

/** Drawn again only where something else is asked, so that nobody loses what they are typing. */
let asked = '';
function showChallenge({ id, state, challenge }) {
  const open = state === 'AWAITING_SCA';
  const pending = open && challenge?.state === 'PENDING';
  const now = `${id} ${open} ${pending} ${challenge?.url ?? ''}`;
  if (now === asked) return;
  asked = now;
  const given = (answered) => attempt(() => answered().finally(() => show(id)));
  answering.replaceChildren(
    ...(pending ? asking(challenge, given) : []),
    ...(open ? [button('Cancel', () => attempt(() => wish(CANCEL, { paymentId: id }).then(() => show(id))))] : []),
  );
}

async function overview(looksOn = false) {
  const { viewer } = await ask(VIEW, {}, looksOn);
  const chosen = pay.elements.from.value;
  pay.elements.from.replaceChildren(...viewer.accounts.edges.map(({ node: { id, kind, name, asset, balance } }) => {
    const option = made('option', `${name} (${kind.toLowerCase()}) ${balance ? balance.available.amount : ''} ${asset}`);
    Object.assign(option, { value: id, selected: id === chosen });
    option.dataset.asset = asset;
    return option;
  }));
  list.replaceChildren(...viewer.payments.edges.map(({ node: { id, state, amount, payee, createdAt } }) =>
    made('li', `${createdAt.slice(0, 10)} ${amount.amount} ${amount.asset} to ${payee.name}: ${state}`,
      button('Show', () => attempt(() => watch(id))))));
  return viewer.payments.edges[0]?.node.id;
}

async function begin() {
  const back = broughtBack(new URLSearchParams(location.search));
  window.history.replaceState(null, '', '/payments'); // what a bank sent is not left where the next one to look can see it
  const newest = await overview();
  if (newest) await watch(newest);
  await showDevices(attempt, wish);
  if (back) await back().finally(() => newest && show(newest));
}

pay.addEventListener('input', () => { key = crypto.randomUUID(); });
pay.addEventListener('submit', (event) => {
  event.preventDefault();
  void attempt(() => initiate(new FormData(pay)));
});
void attempt(begin);
