"""Our programs as they are installed: a node in a folder of its own, and its desk."""
import json, os, signal, socket, subprocess, time

WAIT = 20  # seconds that anything may take; nothing here takes one


class Program:
    """A relay-node with fresh keys on a free port, started. What its card says of its law is in `law`."""

    law = []

    def __init__(self, binaries, base, unit, config="", advertised=None):
        self.binaries, self.unit, self.dir = binaries, unit, os.path.join(base, unit)
        self.program = os.path.join(binaries, "relay-node")
        self.address = ("127.0.0.1", free_port())
        self.config = os.path.join(self.dir, "relay.toml")
        self.socket = os.path.join(self.dir, "api.sock")
        listen, advertise = ("{}:{}".format(*address) for address in (self.address, advertised or self.address))
        subprocess.run(
            [self.program, "init", "--unit", unit, "--dir", self.dir, "--phone", "+1-202-555-0100",
             "--clock", "assumed", "--listen", listen, "--advertise", advertise, *self.law],
            check=True, stdout=subprocess.DEVNULL)
        self.configure(config)
        self.start()

    def configure(self, config):
        """Once, before it starts."""
        with open(self.config, "a", encoding="utf-8") as file:
            file.write(config)

    def start(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen([self.program, "run", "--config", self.config], stdout=log, stderr=log)
        until(lambda: os.path.exists(self.socket), f"{self.unit} makes its socket")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT)

    def end(self):
        """Whatever happened before."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def desk(self, *words, status=(0,)):
        """What a verb of relay-cli says, as JSON."""
        cli = os.path.join(self.binaries, "relay-cli")
        done = subprocess.run(
            [cli, "--node", self.socket, "--json", "--no-input", *words], capture_output=True, text=True, timeout=WAIT,
            env={**os.environ, "XDG_STATE_HOME": os.path.dirname(self.socket)})
        assert done.returncode in status, (words, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(holds, what):
    late = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < late, f"not in time: {what}"
        time.sleep(0.02)
