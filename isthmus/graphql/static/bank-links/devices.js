/** Devices that sign for their owner: those there are, one more, one less. */
import { ask, button, made } from './api.js';
import { CHALLENGE, asking } from './challenges.js';

const DEVICES = 'query Devices { viewer { devices { id name enrolledAt } } }';
const BEGIN = `mutation BeginDeviceEnrolment($input: BeginDeviceEnrolmentInput!) { beginDeviceEnrolment(input: $input) {
  device { id creationOptions ${CHALLENGE} } errors { message } } }`;
const COMPLETE = `mutation CompleteDeviceEnrolment($input: CompleteDeviceEnrolmentInput!) {
  completeDeviceEnrolment(input: $input) { errors { message } } }`;
const REMOVE = 'mutation RemoveDevice($input: RemoveDeviceInput!) { removeDevice(input: $input) { errors { message } } }';

const [form, enrolling, list] = ['enrol', 'enrolling', 'devices'].map((id) => document.getElementById(id));

/** `attempt` does what may fail, and says why; `wish` asks for a mutation. */
export function showDevices(attempt, wish) {
  async function show() {
    const { viewer } = await ask(DEVICES);
    list.replaceChildren(...viewer.devices.map(({ id, name, enrolledAt }) =>
      made('li', `${name}, since ${enrolledAt.slice(0, 10)}`,
        button('Remove', () => attempt(() => wish(REMOVE, { deviceId: id }).then(show))))));
  }

  /** Its code first: no device vouches for the next. */
  async function begin() {
    const { device } = await wish(BEGIN, { name: new FormData(form).get('name') });
    enrolling.replaceChildren(...asking(device.challenge, (answered) => attempt(async () => {
      await answered();
      const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(device.creationOptions));
      const credential = JSON.stringify(await navigator.credentials.create({ publicKey }));
      await wish(COMPLETE, { deviceId: device.id, credential });
      enrolling.replaceChildren();
      form.reset();
      await show();
    })));
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void attempt(begin);
  });
  return show();
}
