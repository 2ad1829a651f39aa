"""Fine-tuning and evaluations: held by the file that is trained on or the operator's rule, booked by what was used."""

import json

import pytest

from budget_middleware.testing import ScriptedApp, call, json_answer
from tests.request.wire import bearer

JOBS = "/v1/fine_tuning/jobs"
RUNS = "/v1/evals/eval_1/runs"
PRICES = """
[models.base]  # A dollar for ten thousand tokens that are trained.
input = 1
output = 1
training = 100
[models.base-2]
same_as = "base"
[models."fine-tuning/hourly"]
training_hour = 36
hold_at_most = 0.5
[models.plain]
input = 0
output = 1000
[models.evals]
hold_at_most = 0.4
"""
BOUNDARY = "b0undary"
UPLOAD = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **bearer()}
EXAMPLE = json.dumps({"messages": [{"role": "user", "content": "secret words"}]}).encode()


@pytest.fixture
def prices(price_file):
    return price_file(PRICES)


def tuning(status="validating_files", **fields):
    plain = {"id": "ftjob-1", "object": "fine_tuning.job", "model": "base", "created_at": 1_000, "finished_at": None}
    return {**plain, "status": status, "trained_tokens": None, **fields}


async def upload(bench, content, *, purpose="fine-tune"):
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
    file = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    body = head.encode() + file.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    app = ScriptedApp(*json_answer({"id": "file-1", "object": "file"}))
    assert (await call(bench.guard(app), body, path="/v1/files", headers=UPLOAD)).status == 200
    assert app.bodies == [body]


async def create(bench, answer=None, *, path=JOBS, model="base", **fields):
    body = {"model": model, "training_file": "file-1", **fields}
    guard = bench.guard(ScriptedApp(*json_answer(answer or tuning())), job_estimate_usd="0.25")
    return await call(guard, body, path=path, headers=bearer())


async def look(bench, answer, *, path=f"{JOBS}/ftjob-1", method="GET"):
    guard = bench.guard(ScriptedApp(*json_answer(answer)))
    await call(guard, {} if method == "POST" else None, path=path, method=method, headers=bearer("sk-two"))
    await bench.settle()


async def test_training_is_held_by_its_file_and_booked_by_what_was_trained(bench):
    await upload(bench, b"x" * 400)
    await create(bench, method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}})
    # 400 bytes are 100 tokens, twice.
    assert await bench.figures() == ("0.00", "0.02")
    await look(bench, tuning("running", trained_tokens=None))
    assert await bench.figures() == ("0.00", "0.02")
    for _ in range(2):
        await look(bench, tuning("succeeded", trained_tokens=500, finished_at=2_000))
        assert await bench.figures() == ("0.05", "0.00")


async def test_of_two_numbers_of_epochs_the_larger_one_is_held(memory):
    await upload(memory, b"x" * 400)
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
    await create(memory, method=method, hyperparameters={"n_epochs": 5})
    assert await memory.figures() == ("0.00", "0.05")


async def test_only_the_length_of_a_file_is_kept(memory):
    await upload(memory, EXAMPLE)
    assert "secret words" not in str(vars(memory.reader))
    await create(memory, hyperparameters={"n_epochs": 1})
    assert await memory.figures() == ("0.00", f"{-(-len(EXAMPLE) // 4) / 10_000}")


async def test_a_file_that_did_not_come_by_is_held_at_the_operators_rule(bench):
    await create(bench)
    assert await bench.figures() == ("0.00", "0.25")
    await look(bench, tuning("succeeded", trained_tokens=500))
    assert await bench.figures() == ("0.05", "0.00")


async def test_training_beyond_the_budget_is_refused(bench):
    await upload(bench, b"x" * 40_000)
    assert (await create(bench)).status == 429
    assert await bench.figures() == ("0.00", "0.00")


async def test_training_that_has_failed_costs_nothing(bench):
    await create(bench)
    await look(bench, tuning("failed", error={"code": "invalid_training_file", "message": "x", "param": None}))
    assert await bench.figures() == ("0.00", "0.00")


async def test_one_that_is_cancelled_costs_what_was_trained(bench):
    await create(bench)
    await look(bench, tuning("cancelled", trained_tokens=300), path=f"{JOBS}/ftjob-1/cancel", method="POST")
    assert await bench.figures() == ("0.03", "0.00")


async def test_one_that_is_cancelled_and_shows_no_tokens_is_not_free(bench):
    await create(bench)
    await look(bench, tuning("cancelled"), path=f"{JOBS}/ftjob-1/cancel", method="POST")
    assert await bench.figures() == ("0.25", "0.00")


async def test_by_the_hour_its_time_is_booked(bench):
    method = {"type": "reinforcement"}
    await create(bench, tuning(model="hourly", method=method), model="hourly", method=method)
    assert await bench.figures() == ("0.00", "0.50")
    await look(bench, tuning("succeeded", model="hourly", method=method, finished_at=1_000 + 1_800))
    assert await bench.figures() == ("18.00", "0.00")


async def test_azure_trains_at_a_path_of_its_own(bench):
    await create(bench, path="/openai/fine_tuning/jobs")
    await look(bench, tuning("succeeded", trained_tokens=100), path="/openai/fine_tuning/jobs/ftjob-1")
    assert await bench.figures() == ("0.01", "0.00")


def run(status="queued", **fields):
    return {"id": "evalrun_1", "object": "eval.run", "eval_id": "eval_1", "status": status, **fields}


async def create_run(bench, path=RUNS):
    body = {"data_source": {"type": "completions", "model": "plain"}}
    guard = bench.guard(ScriptedApp(*json_answer(run())))
    return await call(guard, body, path=path, headers=bearer())


def used(model, output_tokens):
    counts = {"prompt_tokens": 10, "completion_tokens": output_tokens, "total_tokens": 10 + output_tokens}
    return {"model_name": model, "invocation_count": 2, "cached_tokens": 0, **counts}


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
async def test_an_evaluation_books_what_each_model_has_used(bench, status):
    await create_run(bench)
    assert await bench.figures() == ("0.00", "0.40")
    await look(bench, run("in_progress"), path=f"{RUNS}/evalrun_1")
    assert await bench.figures() == ("0.00", "0.40")
    usage = [used("plain", 100), used("plain", 50)]
    await look(bench, run(status, per_model_usage=usage), path=f"{RUNS}/evalrun_1")
    assert await bench.figures() == ("0.15", "0.00")


async def test_an_evaluation_by_a_model_without_a_price_is_not_free(bench):
    await create_run(bench)
    usage = [used("plain", 100), used("nobody-knows-it", 50)]
    await look(bench, run("completed", per_model_usage=usage), path=f"{RUNS}/evalrun_1")
    assert await bench.figures() == ("0.40", "0.00")


async def test_an_evaluation_that_shows_nothing_is_not_free(bench):
    await create_run(bench)
    await look(bench, run("completed"), path=f"{RUNS}/evalrun_1")
    assert await bench.figures() == ("0.40", "0.00")


async def test_an_evaluation_that_was_cancelled_and_called_nobody_costs_nothing(bench):
    await create_run(bench)
    await look(bench, run("canceled"), path=f"{RUNS}/evalrun_1", method="POST")
    assert await bench.figures() == ("0.00", "0.00")
