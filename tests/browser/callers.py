"""What clients of the gateway ask for: requests of teams, as many as a day of theirs has."""

import httpx

TEAMS = ("search", "research", "assistants", "billing-bot", "évaluation", "راصد")


def call(
    url: str,
    *,
    team: str,
    key: str = "sk-1",
    max_tokens: int = 1_500,
    user: str = "",
    client: httpx.Client | None = None,
) -> httpx.Response:
    post = client.post if client else httpx.post
    return post(
        f"{url}/v1/chat/completions",
        headers={b"authorization": f"Bearer {key}".encode(), b"x-team": team.encode()},
        json={"model": "gpt-4o", "messages": [], "max_tokens": max_tokens, "user": user},
        timeout=60,
    )


def play_a_day(url: str) -> None:
    """Each team's calls, of which some are refused in the end."""
    with httpx.Client() as client:
        for number, team in enumerate(TEAMS):
            for turn in range(10):
                max_tokens = (500, 2_000, 9_000)[(number + turn) % 3]
                call(url, team=team, key=f"sk-{number}-{turn % 3}", max_tokens=max_tokens, client=client)
        for turn in range(24):
            call(url, team="search", key=f"sk-{turn}", max_tokens=16_000, client=client)
