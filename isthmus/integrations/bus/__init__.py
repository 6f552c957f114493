"""The bus: Kafka's protocol by aiokafka, with the settings that money needs."""

from isthmus.integrations.bus.connection import Broker, BusUnavailable
from isthmus.integrations.bus.consumer import KafkaLogConsumer
from isthmus.integrations.bus.producer import KafkaPublisher

__all__ = ["Broker", "BusUnavailable", "KafkaLogConsumer", "KafkaPublisher"]
