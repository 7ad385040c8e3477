"""The API's description tells every route, every refusal, and nothing of pages; its page shows all of it."""

from __future__ import annotations

import json

from fastapi.testclient import TestClient

from tests.runs.web.visitors import all_routes
from tracescribe.runs.web.api_schema import TAGS
from tracescribe.runs.web.api_view import parts_of, schemas_of


def test_every_route_of_the_api_is_described(client: TestClient) -> None:
    schema = client.get("/api/openapi.json").json()
    told = {(method.upper(), path) for path, item in schema["paths"].items() for method in item}
    assert told == {(m, p) for m, p in all_routes() if p.startswith("/api/") and p != "/api/docs"}
    assert schema["openapi"].startswith("3.1")


def test_every_operation_says_what_it_may_refuse(client: TestClient) -> None:
    schema = client.get("/api/openapi.json").json()
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert set(operation["responses"]) >= {"400", "401", "403", "421", "422", "429", "500", "503"}, where
            assert operation["description"] and operation["tags"][0] in TAGS, where
            if method != "get":
                assert {"413", "415"} <= set(operation["responses"]), where
                assert any(one["name"] == "X-CSRF-Token" for one in operation["parameters"]), where
            good = [told for status, told in operation["responses"].items() if status < "300"]
            assert good and all(told["content"] for told in good), f"{where} says what it answers"
            for one in operation.get("parameters", ()):
                assert one["schema"], f"{where}: {one['name']}"


def test_the_description_is_whole(client: TestClient) -> None:
    text = client.get("/api/openapi.json").text
    schema = json.loads(text)
    assert "HTTPValidationError" not in text
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schema["components"]["schemas"], name


def test_an_act_must_say_of_which_kind_it_is(client: TestClient) -> None:
    schemas = client.get("/api/openapi.json").json()["components"]["schemas"]
    acts = schemas["NewAct"]["properties"]["act"]["discriminator"]["mapping"]
    assert acts and all("kind" in schemas[place.rpartition("/")[2]]["required"] for place in acts.values())


def test_the_page_shows_every_operation_and_type_with_an_example(client: TestClient) -> None:
    schema = client.get("/api/openapi.json").json()
    page = client.get("/api/docs").text
    for part in parts_of(schema, "http://localhost:8321"):
        for operation in part.operations:
            assert f'id="{operation.anchor}"' in page
            assert operation.example.startswith("curl 'http://localhost:8321/api/")
    for one in schemas_of(schema):
        assert f'id="schema-{one.name}"' in page
    assert "<style" not in page and " style=" not in page
