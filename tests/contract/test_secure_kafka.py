"""Kafka with TLS, logins and ACLs: what works, and what people are told when it does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.secured import KAFKA_USERS, kafka_as

from laneway.adapters.kafka.admin import TopicAdmin
from laneway.adapters.kafka.feed import KafkaFeed
from laneway.adapters.kafka.publisher import Publisher, Sent
from laneway.adapters.kafka.reader import PartitionReader
from laneway.errors import ConfigError, Unavailable
from laneway.model.servers import KafkaServer as Address
from laneway.model.topics import Topics, TopicSpec
from servers.certificates import Authority
from servers.kafka import KafkaServer
from servers.kafka_secure import Secure

#: Nothing below may take longer: an error that takes its time hangs callers.
_AT_ONCE_S = 10.0


@pytest.fixture
async def close() -> AsyncIterator[Callable[[Any], Any]]:
    """Closes what it is given when the test has ended."""
    made: list[Any] = []

    def later(thing: Any) -> Any:
        made.append(thing)
        return thing

    yield later
    for thing in made:
        await thing.close()


@pytest.fixture
def name() -> str:
    return f"laneway.secure.{os.urandom(5).hex()}"


async def why(address: Address) -> str:
    """What each kind of client says that can't get in; they agree."""
    said = []
    for client, call in (
        (admin := TopicAdmin(address, timeout=4), lambda: admin.describe(["laneway.a"])),
        (publisher := Publisher(address, timeout=4), lambda: publisher.publish("laneway.a", [(None, None, b"x")])),
        (reader := PartitionReader(address, "laneway.a", "laneway.g", timeout=4), lambda: reader.count()),
    ):
        async with asyncio.timeout(_AT_ONCE_S):
            with pytest.raises(Unavailable) as caught:
                await call()
            said.append(str(caught.value))
            await client.close()  # type: ignore[attr-defined]
    assert len(set(said)) == 1, said
    return said[0]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_topics_are_made_by_the_operator_and_used_by_the_runtime(
    secure_kafka: KafkaServer, authority: Authority, name: str, mechanism: str, close: Callable[[Any], Any]
) -> None:
    operator = close(TopicAdmin(kafka_as("operator", secure_kafka, authority, mechanism)))
    runtime = kafka_as("runtime", secure_kafka, authority, mechanism)
    assert await operator.create([TopicSpec(name, 2, configs={"retention.ms": "60000"})]) == [name]
    await operator.grow(name, 3)
    await operator.configure(name, {"retention.ms": "120000"})
    found = (await operator.describe([name]))[name]
    assert (found.partitions, found.configs) == (3, {"retention.ms": "120000"})
    reader = close(PartitionReader(runtime, name, f"{name}.workers"))
    assert await reader.count() == 3
    await reader.seek_to_end(1)
    publisher = close(Publisher(runtime))
    assert await publisher.publish(name, [(1, None, b"task")]) == [Sent.DONE]
    async with asyncio.timeout(_AT_ONCE_S):
        async for values in reader.records():
            if values:
                break
    assert values == [b"task"]
    await reader.commit()
    assert await KafkaFeed(runtime, Topics(name, name, name)).latest(5) == [b"task"]
    await operator.delete([name])
    assert await operator.describe([name]) == {}


async def test_the_runtime_may_not_make_configure_or_delete_topics(
    secure_kafka: KafkaServer, authority: Authority, name: str, close: Callable[[Any], Any]
) -> None:
    operator = close(TopicAdmin(kafka_as("operator", secure_kafka, authority)))
    await operator.create([TopicSpec(name)])
    runtime = close(TopicAdmin(kafka_as("runtime", secure_kafka, authority)))
    for call in (
        lambda: runtime.create([TopicSpec(name + "2")]),
        lambda: runtime.configure(name, {"retention.ms": "1000"}),
        lambda: runtime.grow(name, 9),
        lambda: runtime.delete([name]),
    ):
        with pytest.raises(Unavailable, match="does not allow it to the user 'laneway-runtime'"):
            await call()
    found = (await operator.describe([name, name + "2"])).items()
    assert [(topic, state.partitions, state.configs) for topic, state in found] == [(name, 1, {})]


async def test_topics_of_others_are_out_of_reach(
    secure_kafka: KafkaServer, authority: Authority, name: str, close: Callable[[Any], Any]
) -> None:
    foreign = name.replace("laneway", "shop")
    await close(TopicAdmin(secure_kafka.bootstrap)).create([TopicSpec(foreign)])
    operator = close(TopicAdmin(kafka_as("operator", secure_kafka, authority)))
    for call in (lambda: operator.delete([foreign]), lambda: operator.describe([foreign])):
        with pytest.raises(Unavailable, match="does not allow it to the user 'laneway-operator'"):
            await call()
    publisher = close(Publisher(kafka_as("runtime", secure_kafka, authority)))
    with pytest.raises(Unavailable, match="does not allow it to the user 'laneway-runtime'"):
        await publisher.publish(foreign, [(None, None, b"x")])


async def test_a_topic_that_may_not_be_seen_hides_no_other(
    secure_kafka: KafkaServer, authority: Authority, name: str, close: Callable[[Any], Any]
) -> None:
    foreign = name.replace("laneway", "shop")
    everybody = close(TopicAdmin(secure_kafka.bootstrap))
    await everybody.create([TopicSpec(foreign), TopicSpec(name, 3)])
    operator = close(TopicAdmin(kafka_as("operator", secure_kafka, authority)))
    survey = await operator.survey([foreign, name, name + ".none"])
    assert {topic: state.partitions for topic, state in survey.topics.items()} == {name: 3}
    assert list(survey.refused) == [foreign]
    assert isinstance(survey.refused[foreign], Unavailable)
    # Whoever asks, by whichever address: it is one cluster.
    assert survey.cluster == (await everybody.survey([])).cluster != secure_kafka.bootstrap


# -- refused


async def test_a_wrong_password_is_told_with_its_variable_and_without_itself(
    secure_kafka: KafkaServer, authority: Authority
) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        said = await why(kafka_as("runtime", secure_kafka, authority, mechanism, password="hunter2"))
        assert "refuses the user 'laneway-runtime'" in said
        assert "LANEWAY_KAFKA_PASSWORD" in said
        assert "hunter2" not in said


async def test_a_mechanism_that_the_broker_does_not_have_is_told(authority: Authority) -> None:
    pair = authority.issue("narrow", hosts=["127.0.0.1"])
    only = {"listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-256"}
    with await asyncio.to_thread(KafkaServer(secure=Secure(pair, KAFKA_USERS), properties=only).start) as server:
        said = await why(kafka_as("runtime", server, authority, "SCRAM-SHA-512"))
    assert "does not take SCRAM-SHA-512" in said
    assert "LANEWAY_KAFKA_SASL_MECHANISM" in said


async def test_a_server_of_an_unknown_authority_is_refused(
    secure_kafka: KafkaServer, authority: Authority, tmp_path: Path
) -> None:
    said = await why(kafka_as("runtime", secure_kafka, Authority(tmp_path, "Foreign")))
    assert "shows a certificate that is not accepted" in said
    assert "LANEWAY_KAFKA_CA_FILE must hold the certificate of the authority" in said
    said = await why(kafka_as("runtime", secure_kafka, authority, ca_file=""))
    assert "name the certificate of the authority that signed it in LANEWAY_KAFKA_CA_FILE" in said


async def test_a_client_certificate_is_shown_where_the_broker_wants_one(
    authority: Authority, tmp_path: Path, close: Callable[[Any], Any]
) -> None:
    pair = authority.issue("strict-kafka", hosts=["127.0.0.1"])
    own, foreign = authority.issue("kafka-client"), Authority(tmp_path, "Foreign").issue("kafka-client")
    secure = Secure(pair, KAFKA_USERS, client_ca=authority.cert)
    with await asyncio.to_thread(KafkaServer(secure=secure).start) as server:
        without = kafka_as("runtime", server, authority)
        shown = replace(without, cert_file=str(own.cert), key_file=str(own.key))
        # (there are no ACLs here: it gets in, and may see nothing)
        with pytest.raises(Unavailable, match="does not allow it"):
            await close(TopicAdmin(shown)).describe(["laneway.a"])
        for address in (without, replace(without, cert_file=str(foreign.cert), key_file=str(foreign.key))):
            said = await why(address)
            assert "LANEWAY_KAFKA_CERT_FILE" in said, said


async def test_tls_to_the_plain_listener_and_none_to_the_other_are_told(
    secure_kafka: KafkaServer, authority: Authority
) -> None:
    said = await why(Address(secure_kafka.bootstrap, tls=True, ca_file=str(authority.cert)))
    assert "LANEWAY_KAFKA_TLS" in said, said
    said = await why(Address(secure_kafka.secure_bootstrap))
    assert "LANEWAY_KAFKA_TLS" in said, said


async def test_a_login_without_a_mechanism_or_to_a_listener_without_logins_is_told(
    secure_kafka: KafkaServer, authority: Authority
) -> None:
    said = await why(Address(secure_kafka.secure_bootstrap, tls=True, ca_file=str(authority.cert)))
    assert "LANEWAY_KAFKA_SASL_MECHANISM" in said, said


def test_a_missing_or_wrong_file_is_told_before_any_connection(tmp_path: Path, authority: Authority) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for make in (TopicAdmin, Publisher, lambda address: PartitionReader(address, "t", "g")):
        with pytest.raises(ConfigError, match=r"LANEWAY_KAFKA_CA_FILE: there is no file /none/ca\.crt"):
            make(Address("127.0.0.1:1", tls=True, ca_file="/none/ca.crt"))
        with pytest.raises(ConfigError, match=r"LANEWAY_KAFKA_CA_FILE: .*wrong\.pem must hold certificates in PEM"):
            make(Address("127.0.0.1:1", tls=True, ca_file=str(wrong)))
        pair, other = authority.issue("one"), authority.issue("other")
        with pytest.raises(ConfigError, match="a certificate and its own key"):
            make(Address("127.0.0.1:1", tls=True, cert_file=str(pair.cert), key_file=str(other.key)))
