/** The API as these pages reach it: a cookie that no script can read signs in, and a header that no other site can send goes along. */
const HEADERS = { 'content-type': 'application/json', 'x-isthmus-csrf': '1' };
/** What a page asks by itself keeps nobody signed in. */
const LOOKS_ON = { 'x-isthmus-looks-on': '1' };

/** Nobody is signed in, or not any more. */
export class SignedOut extends Error {}

/** The data of an answer. What was sent may be sent again where `again` is true of the error that it throws. `looksOn`: the page asks, and
 *  not its person. */
export async function ask(query, variables = {}, looksOn = false) {
  const headers = looksOn ? { ...HEADERS, ...LOOKS_ON } : HEADERS;
  const answer = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  if (answer.status === 401) throw new SignedOut('You are not signed in.');
  const { data, errors } = await answer.json();
  if (!errors) return data;
  throw Object.assign(new Error(errors[0].message), { again: Boolean(errors[0].extensions?.retryable) });
}

/** Calls `happened` at each message of a subscription, and goes on when the connection is lost, until `signal` says so. */
export async function follow(query, happened, { variables = {}, signal } = {}) {
  while (!signal?.aborted) {
    try {
      const headers = { ...HEADERS, ...LOOKS_ON, accept: 'text/event-stream' };
      const answer = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify({ query, variables }), signal });
      if (answer.status === 401) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        if (part.value.includes('event: next')) happened();
      }
    } catch { /* the network; what was missed is told first when it is there again */ }
    await new Promise((done) => setTimeout(done, 1_000 + 1_000 * Math.random()));
  }
}

/** An element; text is text, whatever is in it. */
export function made(name, text, ...inside) {
  const element = document.createElement(name);
  element.textContent = text;
  element.append(...inside);
  return element;
}

export function button(text, work) {
  const element = made('button', text);
  element.type = 'button';
  element.addEventListener('click', work);
  return element;
}

/** Which consent this tab is on its way with: the address that a bank sends people back to does not say. */
export const underway = {
  keep: (consentId) => sessionStorage.setItem('consentId', consentId),
  consentId: () => sessionStorage.getItem('consentId'),
  forget: () => sessionStorage.removeItem('consentId'),
};

/** Where a new link, or a renewal, sends its owner. */
export const TO_BANK = `consent { id } errors { message }
  authorization { ... on RedirectAuthorization { url } ... on LinkTokenAuthorization { hostedUrl } }`;

export const ACCOUNTS = `accounts { name iban balance { posted { amount asset } } transactions(first: 5) {
  totalCount edges { node { bookedAt description counterparty { name } status amount { amount asset } } } } }`;

/** The accounts of a consent, with what moved in them last. */
export function accountList(consent) {
  return consent.accounts.map(({ name, iban, balance, transactions }) => {
    const last = transactions.edges.map(({ node: { bookedAt, description, counterparty, status, amount } }) => {
      const who = counterparty?.name ?? description;
      return made('li', `${(bookedAt ?? '').slice(0, 10)} ${who}: ${amount.amount} ${amount.asset}, ${status.toLowerCase()}`);
    });
    const shown = `${name} ${iban ?? ''}: ${balance.posted.amount} ${balance.posted.asset}, ${transactions.totalCount} transactions`;
    return made('li', shown, made('ul', '', ...last));
  });
}
