/** The API as this page reaches it: a cookie that no script can read signs in, and a header that no other site can send goes along. */
import { createGraphiQLFetcher, type Fetcher } from '@graphiql/toolkit';
import { Kind, parse, type DocumentNode } from 'graphql';
import { createClient } from 'graphql-ws';

const PROOF = { 'X-Isthmus-CSRF': '1' };
const SIGN_IN = '/playground/sign-in';
const SETTLED_MS = 5_000;

export async function callApi(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(PROOF)) headers.set(name, value);
  const response = await fetch(input, { ...init, headers, credentials: 'same-origin' });
  // The session is over: the issuer signs in again, silently where it can. Whoever brings a token of their own in the headers
  // editor hears of it instead; and a page that was let in just now would only be sent round and round.
  const settled = performance.now() > SETTLED_MS;
  if (response.status === 401 && settled && !headers.has('authorization')) window.location.assign(SIGN_IN);
  return response;
}

/** The socket signs in with the cookie of its handshake, anew for every connection: the server knows the fresh token. */
export function makeFetcher(): Fetcher {
  const url = new URL('/graphql', window.location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const wsClient = createClient({
    url: url.href,
    connectionParams: () => ({}),
    retryAttempts: 10,
  });
  return asWritten(createGraphiQLFetcher({ url: '/graphql', fetch: callApi, wsClient }));
}

/**
 * GraphiQL reads a document a moment after it changed: who changes tabs and runs at once would send the new tab's document under
 * the old one's operation name, and a subscription over HTTP. So the document is read again as it is sent.
 */
function asWritten(fetcher: Fetcher): Fetcher {
  return (params, options) => {
    const documentAST = parsed(params.query);
    if (!documentAST) return fetcher(params, options);
    const operations = documentAST.definitions.filter((one) => one.kind === Kind.OPERATION_DEFINITION);
    const names = operations.map((one) => one.name?.value);
    const known = names.includes(params.operationName ?? undefined);
    // Among several that GraphiQL has not read yet, nothing is run that nobody chose: the API asks for a name.
    const operationName = known ? params.operationName : names.length === 1 ? names[0] : undefined;
    return fetcher({ ...params, operationName }, { ...options, documentAST });
  };
}

/** Null where it does not parse: the API says what is wrong with it. */
function parsed(query: string): DocumentNode | null {
  try {
    return parse(query);
  } catch {
    return null;
  }
}

export async function ask<Data>(query: string): Promise<Data | null> {
  const headers = { 'content-type': 'application/json' };
  const response = await callApi('/graphql', { method: 'POST', headers, body: JSON.stringify({ query }) });
  return ((await response.json()) as { data?: Data }).data ?? null;
}

/** Ends the session here, then asks the issuer to end its own. */
export async function signOut(): Promise<void> {
  const response = await callApi('/playground/sign-out', { method: 'POST' });
  const { next } = (await response.json()) as { next: string };
  window.location.assign(next);
}
