"""Tags: the one kind of account of which a request may have several."""

from types import SimpleNamespace

import pytest

from budget_middleware.core.payers.accounts import key_id
from budget_middleware.core.payers.payers import TAGS_MAX, TooManyTagsError
from budget_middleware.payers.accounts_file import AccountsFile, accounts_in, accounts_of
from budget_middleware.payers.payers import AccountsSourceError
from tests.payers.test_payers import KEY, PLACES, payers_of, scope

PLACES_OF_TAGS = {
    "header:x-tags": (scope(("x-tags", "b, a")), None),
    "header:X-Tags": (scope(("x-tags", "a"), ("X-Tags", " b,a")), None),
    "header:x-none|header:x-tags": (scope(("x-none", " , "), ("x-tags", "a,b")), None),
    "query:tags": (scope(query=b"tags=b&tags=a,b"), None),
    "body:tags": (scope(), {"tags": ["a", "b", "a"]}),
    "body:metadata.tags": (scope(), {"metadata": {"tags": "b,a"}}),
    "state:tags": (scope(state={"tags": ("b", "a")}), None),
    "user": (scope(user=SimpleNamespace(identity="a,b")), None),
}


@pytest.mark.parametrize(("place", "request_"), PLACES_OF_TAGS.items(), ids=PLACES_OF_TAGS)
async def test_each_place_may_name_several(place, request_):
    assert await payers_of(f"key=token; tag={place}", *request_) == {"key": None, "tag": ("a", "b")}


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        ({"tags": ["a,b", "c"]}, ("a%2Cb", "c")),
        ({"tags": [" a ", "", " ", "a"]}, "a"),
        ({"tags": [7, "-", "x" * 300]}, None),
        ({"tags": [True, None, {"a": "b"}, ["c"]]}, None),
        ({"tags": {"a": "b"}}, None),
        ({"tags": " , ,"}, None),
        ({"tags": []}, None),
        ({}, None),
        ([], None),
    ],
    ids=str,
)
async def test_what_counts_as_a_tag(body, tags):
    found = (await payers_of("tag=body:tags", scope(), body))["tag"]
    if body == {"tags": [7, "-", "x" * 300]}:
        assert isinstance(found, tuple)
        assert found[:2] == ("%2D", "7")
        assert found[2].startswith("~")
    else:
        assert found == tags


async def test_a_token_is_one_tag_and_hashed():
    for place in ("token", "header:x-api-key", "query:key"):
        request_ = PLACES["token"] if place != "query:key" else PLACES["query:key"]
        assert await payers_of(f"tag={place}", *request_) == {"tag": KEY}


async def test_at_most_sixteen_different_ones():
    names = [f"t{at:02}" for at in range(TAGS_MAX + 1)]
    most = scope(("x-tags", ",".join(names[:TAGS_MAX] * 3)))
    assert await payers_of("tag=header:x-tags", most) == {"tag": tuple(names[:TAGS_MAX])}
    with pytest.raises(TooManyTagsError, match=r"^17 different tags are too many; one request may have 16$"):
        await payers_of("tag=header:x-tags", scope(("x-tags", ",".join(names))))


async def test_other_kinds_stay_one_text():
    assert await payers_of("team=header:x-team", scope(("x-team", "a, b"))) == {"team": "a%2C%20b"}
    assert await payers_of("team=body:team", scope(), {"team": ["a", "b"]}) == {"team": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "accounts.toml"


@pytest.mark.parametrize(("named", "tags"), [('["b", "a", "b"]', ("a", "b")), ('"a,b"', "a%2Cb"), ('["a"]', "a")])
async def test_the_accounts_file_names_one_or_a_list(path, named, tags):
    path.write_text(f'[keys."{KEY}"]\ntag = {named}\n')
    file = AccountsFile(path)
    found = await payers_of("key=token; tag=header:x-tags", PLACES["token"][0], directory=file)
    assert found == {"key": KEY, "tag": tags}
    each = tags if isinstance(tags, tuple) else (tags,)
    assert accounts_of(accounts_in(path)) == {f"key:{KEY}", *(f"tag:{tag}" for tag in each)}


@pytest.mark.parametrize(
    "line", ["tag = []", 'tag = ["a", ""]', "tag = [1]", 'team = ["a"]', f"tag = {[f't{n}' for n in range(17)]}"]
)
def test_a_wrong_list_in_the_file_is_one_line(path, line):
    path.write_text(f'[keys."{KEY}"]\n{line}\n')
    with pytest.raises(ValueError, match=r"accounts\.toml: \[keys\.") as error:
        AccountsFile(path)
    assert "\n" not in str(error.value)


async def test_the_accounts_source_names_one_or_a_list():
    for named, tags in ((["b", "a"], ("a", "b")), ("a,b", "a%2Cb")):

        async def source(key, named=named):
            return {"tag": named}

        assert await payers_of("key=token", *PLACES["token"], accounts_source=source) == {"key": KEY, "tag": tags}


async def test_a_source_that_lists_what_is_no_list_fails():
    async def source(key):
        return {"team": ["a", "b"]}

    with pytest.raises(AccountsSourceError, match=f"key:{key_id('sk-canary')}"):
        await payers_of("key=token", *PLACES["token"], accounts_source=source)
