-- A key belongs to one person, and to one of their devices, whoever enrols it at the same moment.
drop index sca_devices_credential
--;
create unique index sca_devices_credential on sca_devices (credential_id) where credential_id is not null
