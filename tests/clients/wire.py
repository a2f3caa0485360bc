"""The wire between two nodes: UDP, forwarded as long as nobody cuts it.

Each node has an advertised address here, to which the other one sends; what comes from a node's real address goes to
the other from the first one's advertised address, so that each knows the other by that address alone."""
import selectors, socket, threading


class Wire:
    def __init__(self):
        self.ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for end in self.ends:
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        self.advertised = [end.getsockname() for end in self.ends]
        self.real = [None, None]  # where the nodes listen, once that is known
        self.is_cut, self.dropped = False, 0
        self.wake, self.stop = socket.socketpair()
        self.thread = threading.Thread(target=self.forward, name="wire", daemon=True)
        self.thread.start()

    def forward(self):
        with selectors.DefaultSelector() as ready:
            for to, end in enumerate(self.ends):
                ready.register(end, selectors.EVENT_READ, to)
            ready.register(self.wake, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    if key.fileobj is self.wake:
                        return
                    self.pass_on(key.data)

    def pass_on(self, to):
        try:
            packet, source = self.ends[to].recvfrom(65536)
            if source != self.real[1 - to]:
                return
            if self.is_cut:
                self.dropped += 1
            else:
                self.ends[1 - to].sendto(packet, self.real[to])
        except OSError:
            pass  # as on any wire: what cannot be passed on is lost

    def cut(self):
        self.is_cut, self.dropped = True, 0

    def heal(self):
        self.is_cut = False

    def close(self):
        self.stop.close()
        self.thread.join()
        for one in [*self.ends, self.wake]:
            one.close()
