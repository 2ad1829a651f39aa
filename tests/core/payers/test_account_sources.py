import re

import pytest

from budget_middleware.core.payers.sources import AccountSource, Origin, Source, parse_sources


def test_sources_in_the_order_written() -> None:
    assert parse_sources("key=token; team = header:X-Team | body:metadata.team ;user=user;") == (
        AccountSource("key", (Source("key", Origin.TOKEN, ""),)),
        AccountSource("team", (Source("team", Origin.HEADER, "x-team"), Source("team", Origin.BODY, "metadata.team"))),
        AccountSource("user", (Source("user", Origin.USER, ""),)),
    )
    (org,) = parse_sources("org=query:Org|state:auth:org")
    assert [(source.origin, source.name) for source in org.alternatives] == [
        (Origin.QUERY, "Org"),
        (Origin.STATE, "auth:org"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' names no kind; accepted is KIND=SOURCE, such as key=token"),
        (" ; ", "names no kind"),
        ("key=token; model=body:model", "'model=body:model' gives a source to model, which is built in"),
        ("global=token", "'global=token' gives a source to global, which is built in"),
        ("key+team=token", "'key+team=token' gives a source to a compound"),
        ("team=user;team=token", "'team=token' names the kind team again; join its sources with |"),
        ("Team=user", "'Team=user' is not KIND=SOURCE, where a kind is"),
        ("=token", "'=token' is not KIND=SOURCE"),
        ("key", "'key' has the source ''; accepted are token, header:NAME, body:DOTTED.PATH,"),
        ("key=cookie:k", "'key=cookie:k' has the source 'cookie:k'; accepted are token"),
        ("key=token:x", "'key=token:x' has the source 'token:x'; accepted are"),
        ("key=Token", "'key=Token' has the source 'Token'"),
        ("team=header:", "has the source 'header:'"),
        ("team=header:x team", "has the source 'header:x team'"),
        ("team=header:é", "has the source 'header:é'"),
        ("team=body:a..b", "has the source 'body:a..b'"),
        ("team=body:.a", "has the source 'body:.a'"),
        ("team=user|", "'team=user|' has the source ''"),
        ("team=query:a\nb", r"has the source 'query:a\nb'"),
    ],
)
def test_a_wrong_source_is_refused_with_what_is_accepted(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse_sources(text)
    assert "\n" not in str(error.value)
