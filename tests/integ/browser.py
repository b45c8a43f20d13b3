# SPDX-License-Identifier: MIT
"""A headless Chromium, driven through chromedriver's plain HTTP (W3C WebDriver); nothing it needs comes from a network."""
import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-default-apps", "--window-size=1240,1000"]


class Browser:
    def __init__(self, port, flags=(), prefs=None):
        self.port, self.session = port, None
        self.profile = tempfile.mkdtemp(prefix="cellos-chromium-")
        self.driver = subprocess.Popen(["chromedriver", "--port=%d" % port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait()
            options = {"args": [*FLAGS, *flags, "--user-data-dir=" + self.profile], "prefs": prefs or {}}
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}, "goog:chromeOptions": options}}})
            self.session = "/session/" + made["sessionId"]
        except BaseException:
            self.close()
            raise

    def _wait(self):
        for _ in range(200):
            try:
                self._call("GET", "/status")
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("chromedriver does not answer")

    def _call(self, method, path, body=None, timeout=180):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), method=method, data=data)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError(e.read().decode()[:2000]) from None

    def go(self, url):
        self._call("POST", self.session + "/url", {"url": url})

    def js(self, script, *args):
        return self._call("POST", self.session + "/execute/sync", {"script": script, "args": list(args)})

    def cdp(self, command, **params):
        return self._call("POST", self.session + "/goog/cdp/execute", {"cmd": command, "params": params})

    def console(self):
        return self._call("POST", self.session + "/se/log", {"type": "browser"})

    def requests(self):
        """The URLs of every request since the last call."""
        messages = [json.loads(m["message"])["message"] for m in self._call("POST", self.session + "/se/log", {"type": "performance"})]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._call("GET", self.session + "/screenshot")))

    def close(self):
        try:
            if self.session:
                self._call("DELETE", self.session, timeout=20)
        except (OSError, AssertionError):
            pass
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            shutil.rmtree(self.profile, ignore_errors=True)
