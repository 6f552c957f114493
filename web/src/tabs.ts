/** Example tabs, with variables of whoever is signed in, so that they run as they are. */
export interface ViewerData {
  viewer: {
    subject: string;
    roles: string[];
    accounts: { edges: { node: { id: string; name: string | null; asset: string; balance: { asOf: string } } }[] };
  };
}

export interface ExampleTab {
  query: string;
  variables: string;
}

export const WHO = `{ viewer { subject roles accounts(first: 50) { edges { node { id name asset balance { asOf } } } } } }`;

const BALANCES = `# What lies in each account. Run: Ctrl-Enter
query Balances {
  viewer {
    accounts(first: 20) {
      totalCount
      edges {
        node {
          id
          name
          status
          balance {
            available { amount asset }
            posted { amount }
            pending { amount }
            version
            asOf
          }
        }
      }
    }
  }
}`;

const OPEN = `# The same idempotencyKey again: the same answer,
# with replayed: true. A new wish is a new key.
mutation OpenAccount($input: OpenAccountInput!) {
  openAccount(input: $input) {
    account { id name asset balance { available { amount } } }
    position
    replayed
    errors { __typename code message path }
  }
}`;

const TRANSFER = `# Between two accounts of your own.
# LiveBalances in a second window shows it at once.
mutation Transfer($input: TransferInternallyInput!) {
  transferInternally(input: $input) {
    journal { id reference postedAt entries { direction amount { amount asset } account { id name } } }
    position
    replayed
    errors {
      __typename
      code
      message
      ... on InsufficientFunds { available { amount } required { amount } }
    }
  }
}`;

const HISTORY = `# "then" is over and never changes; "now" does.
query History($account: ID!, $asOf: DateTime!) {
  node(id: $account) {
    ... on Account {
      name
      then: balance(asOf: $asOf) { posted { amount asset } version asOf }
      now: balance { posted { amount asset } version asOf }
      transactions(first: 10) {
        edges { node { bookedAt amount { amount } direction status description } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}`;

const LIVE = `# What is there, then every change, none skipped.
# The same button stops me.
subscription LiveBalances {
  balanceChanged {
    account { id name }
    balance { available { amount asset } version }
    position
    cause { eventType correlationId }
  }
}`;

const AUDIT = `# Your events, each with its place in a hash chain.
query AuditTrail {
  auditTrail(first: 20) {
    edges { node { position eventType aggregateType version occurredAt actor correlationId hash } }
    pageInfo { hasNextPage endCursor }
  }
}`;

const MAKE_KEY = `# The secret is in this answer and nowhere else.
# Send it as a bearer token.
mutation CreateApiKey($input: CreateApiKeyInput!) {
  createApiKey(input: $input) {
    apiKey { id name prefix scopes status expiresAt }
    secret
    replayed
    errors { __typename code message path }
  }
}`;

const KEYS = `query ApiKeys {
  apiKeys(first: 20) {
    totalCount
    edges { node { id name prefix scopes status createdAt expiresAt lastUsedAt } }
  }
}`;

const ASSETS = `# What may be held, and how its amounts print.
query Assets {
  assets { code kind name scale }
}`;

export function exampleTabs(data: ViewerData | null): ExampleTab[] {
  const accounts = data?.viewer.accounts.edges.map((edge) => edge.node) ?? [];
  const [from, to] = pair(accounts);
  const key = (): string => crypto.randomUUID();
  const text = (value: unknown): string => JSON.stringify(value, null, 2);
  return [
    { query: BALANCES, variables: '' },
    { query: OPEN, variables: text({ input: { asset: 'EUR', name: 'Holidays', idempotencyKey: key() } }) },
    {
      query: TRANSFER,
      variables: text({
        input: {
          fromAccountId: from?.id ?? '',
          toAccountId: to?.id ?? '',
          amount: { amount: '1.00', asset: from?.asset ?? 'EUR' },
          reference: 'from the playground',
          idempotencyKey: key(),
        },
      }),
    },
    { query: HISTORY, variables: text({ account: from?.id ?? '', asOf: from?.balance.asOf ?? new Date().toISOString() }) },
    { query: LIVE, variables: '' },
    { query: AUDIT, variables: '' },
    {
      query: MAKE_KEY,
      variables: text({ input: { name: 'from the playground', scopes: ['READ'], idempotencyKey: key() } }),
    },
    { query: KEYS, variables: '' },
    { query: ASSETS, variables: '' },
  ];
}

/** Two accounts of one asset, so that money can move between them. */
function pair<Account extends { asset: string }>(accounts: Account[]): [Account | undefined, Account | undefined] {
  for (const [index, from] of accounts.entries()) {
    const to = accounts.slice(index + 1).find((one) => one.asset === from.asset);
    if (to) return [from, to];
  }
  return [accounts[0], accounts[1]];
}
