"""A desk with users of every role, and browsers without a screen that are signed in to it."""

import re
from pathlib import Path

from argon2 import PasswordHasher, profiles
from starlette.testclient import TestClient

from pipeline.review import users
from pipeline.review.desk import Desk
from pipeline.review.people import ASSAY, ROLES
from pipeline.review.web.app import make_app
from tests.pipeline.review.scored import desk_config, score_batch

PASSWORD = "correct horse battery"
QUICK = PasswordHasher.from_parameters(profiles.CHEAPEST)
URL = "http://127.0.0.1"


def make_desk(folder: Path, ids=range(1, 11), **settings) -> Desk:
    """A desk with alerts and one user a role, called like it; passwords are hashed quickly."""
    config = desk_config(folder, **settings)
    score_batch(config, ids)
    users._hasher = lambda: QUICK
    desk = Desk(config)
    desk.sync()
    for role in ROLES:
        desk.add_user(role, PASSWORD, role, ASSAY)
    return desk


class Browser(TestClient):
    """A browser: follows no redirects by itself, and sends the token of its pages with every form."""

    def __init__(self, desk: Desk, role: str = "", **settings) -> None:
        super().__init__(make_app(desk, **settings), base_url=URL, follow_redirects=False)
        self.csrf = ""
        if role:
            self.sign_in(role)

    def sign_in(self, name: str, password: str = PASSWORD):
        page = self.get("/login")
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
        answer = self.post("/login", data={"name": name, "password": password, "csrf": token})
        if answer.status_code == 303:
            self.csrf = re.search(r'name="csrf" content="([^"]+)"', self.get("/").text)[1]
        return answer

    def do(self, path: str, fields=(), *, script: bool = False):
        pairs = list(fields.items() if isinstance(fields, dict) else fields)
        data: dict = {"csrf": self.csrf}
        for name, value in pairs:
            data.setdefault(name, []).append(value)
        return self.post(path, data=data, headers={"accept": "application/json"} if script else {})


def keys(browser: Browser, address: str = "/") -> dict[str, str]:
    """The alerts of a page of the queue in their order: key, and what a form sends of each."""
    pairs = re.findall(r'name="seen" value="(([0-9a-f]{20}):\d+)"', browser.get(address).text)
    return {key: pair for pair, key in pairs}
