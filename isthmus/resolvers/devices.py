"""Devices that sign for the viewer: those there are, to enrol one, to remove one."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated
from uuid import UUID

import strawberry

from isthmus.domain import sca_devices as domain
from isthmus.domain.authenticators import ANSWER_LENGTH_MAX
from isthmus.domain.identifiers import NOWHERE
from isthmus.domain.refusals import DeviceNotFound, InvalidInput, Refusal
from isthmus.domain.validation import first_fault, key_fault, shown_fault, text_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import Kind, device_key, encode
from isthmus.graphql.scalars import Position
from isthmus.read_models.sca import DeviceRow
from isthmus.resolvers.nodes import Node
from isthmus.resolvers.sca import ScaChallenge, challenge_of
from isthmus.resolvers.wishes import INPUT, KEY, AnyPayload, Payload, envelope_of, refused
from isthmus.write_models.envelope import Done, Refused


@strawberry.enum(description="Where a device stands.")
class DeviceState(Enum):
    AWAITING_SCA = strawberry.enum_value("AWAITING_SCA", description="Its challenge is to be answered.")
    AUTHORISED = strawberry.enum_value("AUTHORISED", description="Its key is waited for, for ten minutes in all.")
    ENROLLED = strawberry.enum_value("ENROLLED", description="It signs.")
    REMOVED = strawberry.enum_value("REMOVED", description="It was removed, for ever.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="It was not enrolled in time.")


@strawberry.type(description="A device that signs what the viewer authorises.")
class Device(Node):
    row: strawberry.Private[DeviceRow]
    #: Shown to whoever began its enrolment, as the answer to that.
    begun: strawberry.Private[bool]
    state: DeviceState = strawberry.field(description="Where it stands.")
    created_at: datetime = strawberry.field(description="When its enrolment was begun.")
    enrolled_at: datetime | None = strawberry.field(description="Since when it signs; null where it never did.")
    last_used_at: datetime | None = strawberry.field(description="When it last signed; null where it never did.")

    @strawberry.field(description="The name it was given; null once its owner's personal data are erased.")
    async def name(self, info: AppInfo) -> str | None:
        return await info.context.loaders.texts.load(self.row.name)

    @strawberry.field(description="What had to be answered before it could be enrolled.")
    def challenge(self) -> ScaChallenge:
        return challenge_of(self.row.challenge)

    @strawberry.field(
        description="What `navigator.credentials.create` is called with (WebAuthn), as JSON. Told by `beginDeviceEnrolment` alone, so that "
        "nobody else brings a key in its place; null everywhere else, and where its key is not waited for."
    )
    async def creation_options(self, info: AppInfo) -> str | None:
        desk = info.context.services.devices
        authenticators, waits = desk.authenticators, self.state in (DeviceState.AWAITING_SCA, DeviceState.AUTHORISED)
        if authenticators is None or not self.begun or not waits:
            return None
        challenge = desk.creation_challenge(self.row.challenge.digest, self.row.challenge.challenge_id)
        known = await info.context.loaders.credentials.load(self.row.owner)
        return authenticators.creation_options(challenge, self.row.owner, info.context.caller.subject, known)


def device_of(row: DeviceRow, *, begun: bool = False) -> Device:
    return Device(
        id=strawberry.ID(encode(Kind.DEVICE, row.device_id)),
        row=row,
        begun=begun,
        state=DeviceState(row.state),
        created_at=row.created_at,
        enrolled_at=row.enrolled_at,
        last_used_at=row.used_at,
    )


@strawberry.input(description="A device to be enrolled.")
class BeginDeviceEnrolmentInput:
    name: str = strawberry.field(
        description=f"What its owner knows it by, in {domain.NAME_LENGTH_MAX} characters at most."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A device's key, once its challenge is answered.")
class CompleteDeviceEnrolmentInput:
    device_id: strawberry.ID = strawberry.field(description="The device's id.")
    credential: str = strawberry.field(description="What `navigator.credentials.create` gave, as JSON.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A device to be removed.")
class RemoveDeviceInput:
    device_id: strawberry.ID = strawberry.field(description="The device's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to enrol a device.")
class BeginDeviceEnrolmentPayload(Payload):
    device: Device | None = strawberry.field(description="The device, with its challenge; null when refused.")


@strawberry.type(description="What became of a device's key.")
class CompleteDeviceEnrolmentPayload(Payload):
    device: Device | None = strawberry.field(description="The device; null when refused.")


@strawberry.type(description="What became of the wish to remove a device.")
class RemoveDevicePayload(Payload):
    device: Device | None = strawberry.field(description="The device; null when refused.")


@strawberry.type
class DeviceMutations:
    @strawberry.mutation(
        description="Enrol a device that signs. First the challenge in the answer is answered, with a code; then its key is brought by "
        "`completeDeviceEnrolment`. Not for API keys."
    )
    async def begin_device_enrolment(
        self, info: AppInfo, input: Annotated[BeginDeviceEnrolmentInput, strawberry.argument(description=INPUT)]
    ) -> BeginDeviceEnrolmentPayload:
        fault = first_fault(
            key_fault(input.idempotency_key),
            domain.name_fault(input.name),
            shown_fault(input.name, ("input", "name")),
        )
        if fault is not None:
            return await refused(info, BeginDeviceEnrolmentPayload, fault, "device")
        envelope = envelope_of(
            info, mutation="beginDeviceEnrolment", key=input.idempotency_key, body={"name": input.name}
        )
        answer = await info.context.services.devices.begin(info.context.caller.person_id, input.name, envelope)
        if isinstance(answer, Refused):
            return await refused(info, BeginDeviceEnrolmentPayload, answer.refusal, "device", answer)
        return await _payload(info, BeginDeviceEnrolmentPayload, *answer, begun=True)

    @strawberry.mutation(
        description="Bring a device's key, once its challenge is passed. From then on payments are authorised by the device. Not for API "
        "keys."
    )
    async def complete_device_enrolment(
        self, info: AppInfo, input: Annotated[CompleteDeviceEnrolmentInput, strawberry.argument(description=INPUT)]
    ) -> CompleteDeviceEnrolmentPayload:
        device_id = device_key(input.device_id)
        fault = first_fault(key_fault(input.idempotency_key), _answer_fault(input.credential), _fault_of(device_id))
        if fault is not None:
            return await refused(info, CompleteDeviceEnrolmentPayload, fault, "device")
        envelope = envelope_of(
            info,
            mutation="completeDeviceEnrolment",
            key=input.idempotency_key,
            body={"device_id": input.device_id, "credential": input.credential},
        )
        person, desk = info.context.caller.person_id, info.context.services.devices
        outcome = await desk.complete(person, device_id, input.credential, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, CompleteDeviceEnrolmentPayload, outcome.refusal, "device", outcome)
        return await _payload(info, CompleteDeviceEnrolmentPayload, device_id, outcome)

    @strawberry.mutation(description="Remove a device, at once and for ever. Not for API keys.")
    async def remove_device(
        self, info: AppInfo, input: Annotated[RemoveDeviceInput, strawberry.argument(description=INPUT)]
    ) -> RemoveDevicePayload:
        device_id = device_key(input.device_id)
        fault = first_fault(key_fault(input.idempotency_key), _fault_of(device_id))
        if fault is not None:
            return await refused(info, RemoveDevicePayload, fault, "device")
        envelope = envelope_of(
            info, mutation="removeDevice", key=input.idempotency_key, body={"device_id": input.device_id}
        )
        outcome = await info.context.services.devices.remove(info.context.caller.person_id, device_id, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, RemoveDevicePayload, outcome.refusal, "device", outcome)
        return await _payload(info, RemoveDevicePayload, device_id, outcome)


async def _payload(
    info: AppInfo, kind: type[AnyPayload], device_id: UUID, outcome: Done, *, begun: bool = False
) -> AnyPayload:
    row = await info.context.loaders.devices.load(device_id)
    assert row is not None, "it was written just now, in the same database"
    fields = {"device": device_of(row, begun=begun)}
    return kind(position=Position(outcome.position), replayed=outcome.replayed, errors=[], **fields)


def _fault_of(device_id: UUID) -> Refusal | None:
    missing = DeviceNotFound("There is no such device.", ("input", "deviceId"))
    return missing if device_id == NOWHERE else None


def _answer_fault(credential: str) -> Refusal | None:
    path = ("input", "credential")
    if len(credential) > ANSWER_LENGTH_MAX:
        return InvalidInput("That is no credential.", path)
    return text_fault(credential, path)
