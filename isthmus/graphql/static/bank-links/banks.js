/** Find a bank, go there, and watch what is linked. */
import { ACCOUNTS, SignedOut, TO_BANK, accountList, ask, button, follow, made, underway } from './api.js';

const INSTITUTIONS = `query Institutions($country: CountryCode!, $search: String) {
  institutions(country: $country, search: $search, first: 10) { edges { node { id name } } } }`;
const START = `mutation StartBankLink($input: StartBankLinkInput!) { startBankLink(input: $input) { ${TO_BANK} } }`;
const RENEW = `mutation RenewBankConsent($input: RenewBankConsentInput!) { renewBankConsent(input: $input) { ${TO_BANK} } }`;
const REVOKE = `mutation RevokeBankConsent($input: RevokeBankConsentInput!) {
  revokeBankConsent(input: $input) { errors { message } } }`;
const DELETE = `mutation DeleteBankLink($input: DeleteBankLinkInput!) { deleteBankLink(input: $input) { errors { message } } }`;
const LINKS = `query Links { viewer { bankConsents(first: 20) { edges { node {
  id status provider daysLeft institution { name } sync { state fetched } ${ACCOUNTS} } } } } }`;
const CHANGED = 'subscription ConsentChanged { consentChanged { consent { id status daysLeft } } }';
const OVER = ['REJECTED', 'REVOKED', 'FAILED'];

const [found, links, said] = ['found', 'links', 'said'].map((id) => document.getElementById(id));
const redirectUri = `${location.origin}/bank-links/callback`;

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof SignedOut) location.assign('/playground/sign-in?page=bank-links');
    said.textContent = error.message;
  }
}

/** A wish about a link: what it answers, or why not. */
async function wish(mutation, input) {
  said.textContent = '';
  const [answer] = Object.values(await ask(mutation, { input: { idempotencyKey: crypto.randomUUID(), ...input } }));
  if (answer.errors.length) throw new Error(answer.errors[0].message);
  return answer;
}

async function goToBank(mutation, input) {
  const { consent, authorization } = await wish(mutation, { ...input, redirectUri });
  if (!authorization) return show(); // the wish was enough
  underway.keep(consent.id);
  location.assign(authorization.url ?? authorization.hostedUrl);
}

async function search(form) {
  said.textContent = '';
  const { institutions } = await ask(INSTITUTIONS, { country: form.get('country'), search: form.get('name') || null });
  const banks = institutions.edges.map(({ node }) =>
    made('li', node.name, button('Link', () => attempt(() => goToBank(START, { institutionId: node.id })))));
  found.replaceChildren(...(banks.length ? banks : [made('li', 'There is no such bank.')]));
}

/** What is shown was asked for last: answers may overtake each other. What a reading brings is not told live: whoever asked last looks again
 *  while one is to come. */
let asked = 0;
let later;
async function show() {
  const mine = (asked += 1);
  clearTimeout(later);
  const { viewer } = await ask(LINKS, {}, true); // whatever its person does here is a wish, a search, or the page itself
  if (mine !== asked) return;
  const all = viewer.bankConsents.edges.map((edge) => edge.node);
  links.replaceChildren(...all.map(shown));
  const reads = all.some(({ status, sync }) => status === 'AUTHORISED' && sync.state !== 'DONE');
  if (reads) later = setTimeout(() => attempt(show), 1_000);
}

function shown(consent) {
  const { id, institution, provider, status, daysLeft, sync } = consent;
  const ends = daysLeft === null || status !== 'AUTHORISED' ? '' : `, ${daysLeft} days left`;
  const item = made('li', `${institution.name} (${provider}): ${status}${ends}; reading ${sync.state}, ${sync.fetched} read`);
  const may = (text, work) => item.append(button(text, () => attempt(work)));
  if (!OVER.includes(status)) {
    if (status !== 'AWAITING_AUTHORISATION') may('Renew', () => goToBank(RENEW, { consentId: id }));
    may('Take back', () => wish(REVOKE, { consentId: id }).then(show));
  }
  may('Delete', () => wish(DELETE, { consentId: id }).then(show));
  item.append(made('ul', '', ...accountList(consent)));
  return item;
}

document.getElementById('search').addEventListener('submit', (event) => {
  event.preventDefault();
  void attempt(() => search(new FormData(event.target)));
});
void attempt(show);
void follow(CHANGED, () => void attempt(show));
