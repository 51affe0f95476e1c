"""A headless Chromium, driven through chromedriver's HTTP interface: enough of WebDriver to look at a page."""
import base64
import json
import re
import shutil
import subprocess
import tempfile
import urllib.request

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --hide-scrollbars"
).split()


def missing():
    """Why there is no browser here, or None."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return None


class Browser:
    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory()
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in self.driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                break
        self.url = f"http://127.0.0.1:{found[1]}/session"
        options = {"args": [*FLAGS, f"--user-data-dir={self.profile.name}"], "binary": shutil.which("chromium")}
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.url += "/" + self.call("", {"capabilities": {"alwaysMatch": always}})["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self.call("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            self.driver.stdout.close()
            self.profile.cleanup()

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.load(answer)["value"]

    def devtools(self, command, **params):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": params})

    def look(self, path, width, scheme):
        """Loads a file at a width in pixels, in the light or dark scheme."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("/url", {"url": f"file://{path}"})

    def run(self, script, *args):
        return self.call("/execute/sync", {"script": script, "args": list(args)})

    def logs(self, kind):
        return self.call("/se/log", {"type": kind})

    def requests(self):
        """Addresses that the page asked for since the last call."""
        sent = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        return [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]

    def screenshot(self, height=None):
        """PNG of the window, or of the page's first `height` pixels."""
        if height:
            width = self.run("return innerWidth")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            return base64.b64decode(
                self.devtools("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
            )
        return base64.b64decode(self.call("/screenshot"))
