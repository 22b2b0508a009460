import time

from shop.api import Api


def answering(**options):
    api = Api(**options)
    calls = []

    @api.route("GET", "/articles")
    def articles():
        calls.append("articles")
        return ["apple", "pear"]

    @api.route("POST", "/orders")
    def order(article, count):
        time.sleep(0.35)
        return {"article": article, "count": int(count)}

    return api, calls


def test_get():
    api, _ = answering(fresh=0.3)
    assert api.request("GET", "/articles") == (200, ["apple", "pear"])
    time.sleep(0.35)
    assert api.request("GET", "/articles") == (200, ["apple", "pear"])


def test_post():
    api, _ = answering()
    status, body = api.request("POST", "/orders", article="pear", count="2")
    assert (status, body) == (200, {"article": "pear", "count": 2})


def test_bad_input():
    api, _ = answering()
    assert api.request("POST", "/orders", article="pear", count="two")[0] == 400
    assert api.request("POST", "/orders", article="pear")[0] == 400


def test_unknown_path_and_method():
    api, _ = answering(limit=4, window=0.35)
    assert api.request("GET", "/nothing")[0] == 404
    assert api.request("DELETE", "/articles")[0] == 405
    time.sleep(0.36)
    assert api.request("GET", "/nothing")[0] == 404


def test_answers_are_kept_while_fresh():
    api, calls = answering(fresh=60)
    api.request("GET", "/articles")
    time.sleep(0.4)
    api.request("GET", "/articles")
    assert calls == ["articles"]


def test_rate_limit():
    api, _ = answering(limit=5, window=60)
    time.sleep(0.3)
    statuses = [api.request("GET", "/articles", client="ann")[0] for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 200, 429]


def test_rate_limit_window_ends():
    api, _ = answering(limit=1, window=0.4)
    while api.request("GET", "/articles", client="ann")[0] == 200:
        pass
    time.sleep(0.45)
    assert api.request("GET", "/articles", client="ann")[0] == 200
