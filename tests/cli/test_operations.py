"""`isthmus operations`: what a client's files become, what is refused and why, and that publishing again changes nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import asyncpg
import pytest

from isthmus.graphql.documents import Documents
from isthmus.graphql.execution import limits_of
from isthmus.graphql.publishing import Accepted, Unpublishable, accept
from isthmus.graphql.schema import build_schema
from isthmus.settings import ApiSettings
from tests.api.conftest import CONTRACT
from tests.cli.conftest import RunIsthmus
from tests.conftest import Database

FILE = """# What the web client asks.
query Who { viewer { ...Person accounts(first: 5) { totalCount } } }

query Assets { assets { code } }

fragment Person on Viewer { ...Named roles }
fragment Named on Viewer { id subject }
"""
WHO = """query Who {
  viewer {
    ...Person
    accounts(first: 5) {
      totalCount
    }
  }
}

fragment Person on Viewer {
  ...Named
  roles
}

fragment Named on Viewer {
  id
  subject
}"""


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Nothing:
    async def find(self, digest: bytes) -> str | None:
        return None

    def knows(self, digest: bytes) -> bool:
        return False


@pytest.fixture(scope="module")
def documents() -> Documents:
    return Documents(
        build_schema()._schema, limits_of(ApiSettings()), tokens_max=1_000, trusted=Nothing(), development=True
    )


def texts(accepted: list[Accepted]) -> set[str]:
    for each in accepted:
        assert each.digest.hex() == sha(each.text)
    return {each.text for each in accepted}


def faults(documents: Documents, **files: str) -> str:
    with pytest.raises(Unpublishable) as refused:
        accept({name.replace("_", "."): text for name, text in files.items()}, documents)
    return "\n".join(refused.value.faults)


def test_a_file_is_registered_whole_and_by_operation(documents: Documents) -> None:
    accepted, notes = accept({"web.graphql": FILE}, documents)

    assert texts(accepted) == {FILE, WHO, "query Assets {\n  assets {\n    code\n  }\n}"}
    assert {each.operations for each in accepted} == {("Who", "Assets"), ("Who",), ("Assets",)}
    assert notes == []


def test_fragments_may_stand_in_another_file(documents: Documents) -> None:
    operation, fragments = FILE.split("query Assets { assets { code } }")

    accepted, notes = accept({"who.graphql": operation, "fragments.graphql": fragments}, documents)

    assert texts(accepted) == {WHO}
    assert notes == ["who.graphql (the whole file): Unknown fragment 'Person'."]


def test_the_contract_is_publishable(documents: Documents) -> None:
    accepted, notes = accept({"01-spine.graphql": CONTRACT}, documents)

    assert CONTRACT in texts(accepted)
    assert {each.operations for each in accepted if each.text != CONTRACT} >= {("Viewer",), ("BalanceChanged",)}
    assert notes == []


def test_manifests_of_apollo_and_relay_are_registered_to_the_byte(documents: Documents) -> None:
    body, other = "query A{viewer{id}}", "query B {viewer{id}}  "
    apollo = {
        "format": "apollo-persisted-query-manifest",
        "version": 1,
        "operations": [{"id": sha(body), "name": "A", "type": "query", "body": body}],
    }

    accepted, _ = accept({"apollo.json": json.dumps(apollo), "relay.json": json.dumps({sha(other): other})}, documents)

    assert texts(accepted) == {body, other}


def test_what_the_server_would_refuse_is_refused_with_the_reason(documents: Documents) -> None:
    deep = (
        "query Deep { viewer { accounts { edges { node {"
        + "transactions { edges { node { account {" * 2
        + "id"
        + "}" * 13
    )
    aliases = "query Wide { viewer {" + " ".join(f"a{n}: id" for n in range(16)) + "} }"

    assert "a.graphql, A: Cannot query field 'viewe' on type 'Query'. Did you mean 'viewer'?" in faults(
        documents, a_graphql="query A { viewe { id } }"
    )
    assert "a.graphql, Deep: The query is deeper than 10 levels." in faults(documents, a_graphql=deep)
    assert "a.graphql, Wide: The query has more than 15 aliases." in faults(documents, a_graphql=aliases)
    assert "a.graphql, line 2: Syntax Error" in faults(documents, a_graphql="query A {\n")
    assert "fragment Gone is in no file" in faults(documents, a_graphql="query A { viewer { ...Gone } }")
    assert "there is no operation" in faults(documents, a_graphql="fragment F on Viewer { id }")
    assert "not the SHA-256 of its text" in faults(documents, a_json=json.dumps({sha("x"): "{ viewer { id } }"}))
    assert "persistConfig.algorithm" in faults(documents, a_json=json.dumps({"d41d8cd98f00": "{ viewer { id } }"}))
    assert "the format must be" in faults(documents, a_json=json.dumps({"format": "other", "operations": []}))


async def test_publish_list_and_retire(
    isthmus: RunIsthmus, database: Database, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "web.graphql").write_text(FILE)
    (tmp_path / "bad.graphql").write_text("query A { viewe { id } }")
    environment = {"ISTHMUS_DATABASE__URL": database.url, "ISTHMUS_DATABASE__ADMIN_URL": database.admin_url}
    publish = ("operations", "publish", str(tmp_path / "web.graphql"), "--client", "web", "--by", "ada")

    refused = isthmus(*publish, str(tmp_path / "bad.graphql"), **environment)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Cannot query field 'viewe'" in refused.stderr
    assert await admin.fetchval("select count(*) from trusted_documents") == 0, "all or none"

    first, again = isthmus(*publish, **environment), isthmus(*publish, **environment)
    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout.count("  new  ") == again.stdout.count("  known  ") == 3
    assert await admin.fetchval("select count(*) from trusted_document_changes where actor = 'ada'") == 3

    retired = isthmus("operations", "retire", sha(FILE)[:8], "--by", "grace", **environment)
    assert (retired.returncode, retired.stdout) == (0, "retired 1\n"), retired.stderr
    listed = json.loads(isthmus("operations", "list", "--retired", "--json", **environment).stdout)["documents"]
    assert {(each["sha256"], each["publishedBy"], each["retiredBy"]) for each in listed} == {
        (sha(FILE), "ada", "grace"),
        (sha(WHO), "ada", None),
        (sha("query Assets {\n  assets {\n    code\n  }\n}"), "ada", None),
    }

    for change in ("update trusted_document_changes set actor = 'nobody'", "delete from trusted_document_changes"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await admin.execute(change)
    as_the_server = isthmus(*publish, **{**environment, "ISTHMUS_DATABASE__ADMIN_URL": database.url})
    assert as_the_server.returncode == 1
    assert "ISTHMUS_DATABASE__ADMIN_URL" in as_the_server.stderr
