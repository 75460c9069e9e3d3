"""vm.py - one virtual machine of the lab: its network, QEMU, the channel to the guest's agent, and its end.

Everything a run makes dies with it. The taps live in a network namespace without a name that only this process and its
children are in, so the kernel removes them with the last of these; children ask to be killed when their parent goes.
The guest's agent (init.c, which describes the frames) is reached over one virtio-serial port; this process relays that
channel to any number of clients (lab/guest) on the socket `control` in the run's directory.
"""

import asyncio
import contextlib
import ctypes
import glob
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

LAB = os.path.dirname(os.path.abspath(__file__))
SERIES = ("7.3", "6.12", "6.1")
READY, RUN, INPUT, SIGNAL, OUTPUT, ERROR, EXIT = range(7)
FRAME = struct.Struct("<III")
BOOT_SECONDS = 60
BOOT_ATTEMPTS = 3
PREPARE_SECONDS = 60
MODULE = "paste/kernel/paste.ko"
COMMAND_LINE = ("console=ttyS0 nokaslr loglevel=4 panic=-1 oops=panic softlockup_panic=1 sysrq_always_enabled=1"
                " tsc=reliable no_timer_check")
NIC = "virtio-net-pci,iommu_platform=on,disable-legacy=on,guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_ecn=off"
# The checked kernel (lab/checked) does everything so many times slower, and its checks need memory of their own.
DEBUG_SLOWER = 5
DEBUG_COMMAND_LINE = "watchdog_thresh=60 sysctl.kernel.hung_task_timeout_secs=300 sysctl.kernel.lock_stat=0"
DEBUG_MEMORY = "2G"
MEMORY = "1G"
# A report of the kernel after boot makes a run fail, whatever its command says. Those of lockdep and RCU begin with WARNING.
REPORTS = (b"cut here", b"WARNING: ", b"BUG: ", b"Kernel panic", b"Oops", b"general protection fault", b"soft lockup",
           b"rcu: INFO", b"INFO: task", b"INFO: trying to register", b"unregister_netdevice: waiting")
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """A failure of the lab or the guest that the user should read."""


def say(text):
    print("lab: " + text, file=sys.stderr, flush=True)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_session(leader):
    """Ends a child that leads a session, and whatever process groups it has made there."""
    def members():
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(name)) == leader:
                    yield int(name)

    for number, seconds in (signal.SIGTERM, 10), (signal.SIGKILL, 10):
        for pid in members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while any(members()) and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(leader, os.WNOHANG)
            time.sleep(0.1)


def build(series, debug=False):
    """Builds for a kernel; returns the cache entry, the output directory and the kernel."""
    process = subprocess.Popen([os.path.join(LAB, "build"), *(["--debug"] if debug else ["--kernel", series])],
                               start_new_session=True, preexec_fn=die_with_parent)
    try:
        status = process.wait()
    except BaseException:  # interrupted: what was begun, a debootstrap perhaps, must not go on by itself
        end_session(process.pid)
        raise
    if status:
        raise LabError("the build failed")
    out = os.path.join(LAB, "out", "checked" if debug else series)
    with open(os.path.join(out, "entry")) as entry, open(os.path.join(out, "boot")) as boot:
        return entry.read().strip(), out, os.path.join(boot.read().strip(), "kernel")


def add_machine_options(parser):
    """What every command that boots a guest can be told about it; VM() takes the result."""
    parser.add_argument("--kernel", default=SERIES[0], choices=SERIES, help="kernel series (default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="the checked kernel: %s with KASAN, lockdep, kmemleak and more,"
                        " built from source when first asked for (lab/checked)" % SERIES[0])
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="virtual CPUs (default: 1)")
    parser.add_argument("--mem", metavar="SIZE", help="memory (default: %s, with --debug %s)" % (MEMORY, DEBUG_MEMORY))
    parser.add_argument("--nics", type=int, default=1, metavar="N", help="NICs, each on a tap (default: 1)")
    parser.add_argument("--queues", type=int, default=1, metavar="N",
                        help="queue pairs of each NIC; XDP wants two for each CPU when more than one (default: 1)")
    parser.add_argument("--pmem", action="append", type=size, default=[], metavar="SIZE",
                        help="an NVDIMM (/dev/pmem0, ...); repeatable")
    parser.add_argument("--pmem-dir", metavar="DIR", help="keep the NVDIMMs' content there, in files pmem0, ...;"
                        " without it they begin empty and vanish")
    parser.add_argument("--no-module", action="store_true", help="do not load paste.ko")
    parser.add_argument("--module-args", default="", metavar="ARGS", help="parameters for the module")
    parser.add_argument("--systemd", action="store_true", help="let systemd be process 1, with udev and its services")
    parser.add_argument("--tools", action="store_true", help="complete the root with compilers and kernel headers")
    parser.add_argument("--append", action="append", default=[], metavar="TEXT", help="addition to the kernel's command line")
    parser.add_argument("--qemu-arg", action="append", default=[], metavar="ARG", help="additional argument for QEMU")


def size(text):
    """Bytes of 512M, 2G, ..."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if not match:
        raise ValueError(text)
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


@contextlib.contextmanager
def child(command, **more):
    """A process that runs VMs. It is told to end, and waited for, when the block or this program does: it has to clean up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    process = subprocess.Popen(command, **more)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def quoted(path):
    """A value within a QEMU option, where a comma would end it."""
    return path.replace(",", ",,")


def pack(id, type, data=b""):
    return FRAME.pack(id, type, len(data)) + data


async def read_frame(reader):
    id, type, length = FRAME.unpack(await reader.readexactly(FRAME.size))
    return id, type, await reader.readexactly(length)


def run_frame(argv, cwd="/paste"):
    data = b"\0".join(os.fsencode(word) for word in [cwd, *argv]) + b"\0"
    if len(data) > 65536:
        raise LabError("the command line is too long for the guest")
    return data


def exit_code(wait_status):
    """The shell's convention: 128 + signal for a killed process."""
    return os.WEXITSTATUS(wait_status) if os.WIFEXITED(wait_status) else 128 + os.WTERMSIG(wait_status)


# ---- acceleration ----

def kvm_works(kernel, cache):
    """/dev/kvm may exist and fail, so the answer comes from booting a kernel; it is kept until the host reboots."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with open("/proc/sys/kernel/random/boot_id") as f:
        verdict = os.path.join(cache, "kvm-" + f.read().strip())
    if not os.path.exists(verdict):
        say("trying whether KVM works here")
        command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "256M", "-nodefaults", "-display", "none",
                   "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"]
        try:
            probe = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20,
                                   preexec_fn=die_with_parent)
            works = b"Linux version" in probe.stdout and b"Kernel panic" in probe.stdout
        except subprocess.TimeoutExpired:
            works = False
        written = "%s.%d" % (verdict, os.getpid())
        with open(written, "w") as f:
            f.write("yes" if works else "no")
        os.rename(written, verdict)
        say("KVM works" if works else "KVM does not work here: emulating (TCG)")
    with open(verdict) as f:
        return f.read() == "yes"


# ---- network ----

def make_network(nics, queues):
    """Moves this process into a fresh network namespace with a tap for each NIC: 10.77.0.1, 10.78.0.1, ..."""
    if libc.unshare(CLONE_NEWNET):
        raise LabError("no network namespace: " + os.strerror(ctypes.get_errno()))
    lines = ["link set lo up"]
    for i in range(nics):
        mode = "tap multi_queue" if queues > 1 else "tap"
        subprocess.run(["ip", "tuntap", "add", "tap%d" % i, "mode", *mode.split()], check=True)
        lines += ["addr add 10.%d.0.1/24 dev tap%d" % (77 + i, i),
                  "addr add fd%d::1/64 dev tap%d nodad" % (77 + i, i), "link set tap%d up" % i]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def guest_network_script(nics):
    lines = ["link set lo up"]
    for i in range(nics):
        lines += ["link set eth%d up" % i, "addr add 10.%d.0.2/24 dev eth%d" % (77 + i, i),
                  "addr add fd%d::2/64 dev eth%d nodad" % (77 + i, i)]
    lines += ["route add default via 10.77.0.1"] if nics else []
    return "printf '%s\\n' | ip -batch -" % "\\n".join(lines)


# ---- the machine ----

class VM:
    """A booted guest. Its files are in `directory`, which is also the value of PASTE_LAB_VM for clients."""

    def __init__(self, options, emulate=False):
        self.options = options
        if options.debug and options.kernel != SERIES[0]:
            raise LabError("the checked kernel is of series " + SERIES[0])
        self.slower = DEBUG_SLOWER if options.debug else 1
        self.memory = options.mem or (DEBUG_MEMORY if options.debug else MEMORY)
        self.start_directory = os.getcwd()
        self.pmem_directory = os.path.abspath(options.pmem_dir) if options.pmem_dir else ""
        self.entry, self.out, self.kernel = build(options.kernel, options.debug)
        if not options.no_module and not os.path.exists(os.path.join(self.out, MODULE)):
            raise LabError("no %s for kernel %s: the sources here do not build one (see lab/build);"
                           " --no-module does without" % (MODULE, options.kernel))
        self.kvm = not emulate and kvm_works(self.kernel, os.path.dirname(self.entry))
        runs = os.path.join(LAB, "out", "runs")
        self.directory = os.path.join(runs, "%s-%d" % (time.strftime("%m%d-%H%M%S"), os.getpid()))
        self.console = os.path.join(self.directory, "console")
        os.makedirs(self.directory)
        os.makedirs(self.pmem_directory or ".", exist_ok=True)
        forget_old_runs(runs, self.directory)
        os.chdir(self.directory)  # socket names are relative: a path may be longer than an address of theirs
        self.commands = {}
        self.next_id = 1
        self.ended = None
        self.boot_log_size = 0
        make_network(options.nics, options.queues)

    # QEMU

    def qemu_command(self):
        o = self.options
        machine, memory = "q35", self.memory
        if o.pmem:
            machine = "q35,nvdimm=on"
            memory += ",slots=%d,maxmem=%d" % (len(o.pmem), size(memory) + sum(o.pmem))
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-machine", machine, "-m", memory, "-smp", str(o.cpus),
                   "-kernel", self.kernel, "-initrd", os.path.join(self.out, "initrd"),
                   "-append", " ".join([COMMAND_LINE, *([DEBUG_COMMAND_LINE] if o.debug else []), *self.words_for_init(),
                                        *o.append]),
                   "-drive", "if=none,id=root,format=raw,readonly=on,file=" + quoted(os.path.join(self.entry, "root.ext4")),
                   "-device", "virtio-blk-pci,drive=root",
                   "-device", "virtio-serial-pci", "-chardev", "socket,id=agent,path=agent,server=on,wait=off",
                   "-device", "virtserialport,chardev=agent,name=agent",
                   "-chardev", "socket,id=console,path=tty,server=on,wait=off,logfile=console",
                   "-serial", "chardev:console", "-qmp", "unix:qmp,server=on,wait=off"]
        if o.tools:
            command += ["-drive", "if=none,id=tools,format=raw,readonly=on,file=" + quoted(os.path.join(self.entry, "tools.ext4")),
                        "-device", "virtio-blk-pci,drive=tools"]
        command += ["-accel", "kvm", "-cpu", "host"] if self.kvm else ["-accel", "tcg", "-cpu", "max,la57=off"]
        for i in range(o.nics):
            command += ["-netdev", "tap,id=net%d,ifname=tap%d,script=no,downscript=no" % (i, i)
                        + (",queues=%d" % o.queues if o.queues > 1 else "")]
            command += ["-device", NIC + ",romfile=,netdev=net%d" % i
                        + (",mq=on,vectors=%d" % (2 * o.queues + 2) if o.queues > 1 else "")]
        for i, length in enumerate(o.pmem):
            command += ["-object", "memory-backend-file,id=pmem%d,share=on,mem-path=%s,size=%d,align=2M"
                        % (i, quoted(self.pmem_file(i)), length), "-device", "nvdimm,memdev=pmem%d" % i]
        return command + o.qemu_arg

    def words_for_init(self):
        """What the kernel does not know it passes on, in the environment of init.c."""
        words = ["lab_tools=/dev/vdb"] if self.options.tools else []
        if self.options.systemd:  # which has nothing to bring up to date: its ldconfig takes minutes under emulation
            words += ["lab_init=/usr/lib/systemd/systemd", "net.ifnames=0", "systemd.condition_needs_update=no"]
        return words

    def pmem_file(self, i):
        return os.path.join(self.pmem_directory, "pmem%d" % i)

    async def boot(self):
        """Starts QEMU, waits for the agent, loads what the options ask for; a boot that hangs is tried again, and so is
        a guest that dies before the end of this."""
        for attempt in range(1, BOOT_ATTEMPTS + 1):
            try:
                await asyncio.wait_for(self.boot_once(), BOOT_SECONDS * self.slower)
                await self.load()
                return
            except (asyncio.TimeoutError, asyncio.IncompleteReadError, OSError) as error:
                self.kill_qemu()
                if os.path.exists(self.console):
                    shutil.copy(self.console, "console-boot-%d" % attempt)
                say("boot %d of %d failed (%s)" % (attempt, BOOT_ATTEMPTS, type(error).__name__))
        raise LabError("the guest does not boot")

    async def boot_once(self):
        for name in ("agent", "tty", "qmp", "console"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        with open("qemu.log", "wb") as log:
            self.qemu = subprocess.Popen(self.qemu_command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         start_new_session=True, preexec_fn=die_with_parent)
        self.reader, self.writer = await self.connect("agent")
        await read_frame(self.reader)  # READY
        status = await self.exchange(guest_network_script(self.options.nics))
        if status:
            raise OSError("network setup: status %d" % status)
        self.boot_log_size = os.path.getsize(self.console)

    async def load(self):
        if self.options.pmem:
            await self.must_do("modprobe -a nfit nd_pmem device_dax dax_pmem", "the NVDIMMs' drivers")
        if not self.options.no_module:
            await self.must_do("insmod /%s %s" % (MODULE, self.options.module_args), "the module")

    async def must_do(self, script, what):
        """What fails, or hangs, in a guest that lives, would do so again."""
        try:
            status = await asyncio.wait_for(self.exchange("exec " + script), PREPARE_SECONDS * self.slower)
        except asyncio.TimeoutError:
            raise LabError("loading %s took more than %d s" % (what, PREPARE_SECONDS * self.slower)) from None
        if status:
            raise LabError(what + " could not be loaded")

    async def connect(self, name):
        while self.qemu.poll() is None:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return await asyncio.open_unix_connection(name)
            await asyncio.sleep(0.02)
        with open("qemu.log") as log:
            raise LabError("QEMU does not start: " + log.read().strip())

    async def exchange(self, script):
        """Runs a shell command before the relay is up."""
        self.writer.write(pack(1, RUN, run_frame(["sh", "-c", script], "/")))
        while True:
            _, type, data = await read_frame(self.reader)
            if type in (OUTPUT, ERROR):
                sys.stderr.buffer.write(data)
            if type == EXIT:
                return exit_code(*struct.unpack("<I", data))

    def kill_qemu(self):
        with contextlib.suppress(AttributeError):
            self.qemu.kill()
            self.qemu.wait()

    # channel

    async def serve(self):
        """Starts relaying between the agent and clients."""
        self.relay = asyncio.create_task(self.relay_agent())
        self.server = await asyncio.start_unix_server(self.serve_client, "control")

    async def relay_agent(self):
        """Hands each frame to its command; the end of the channel is the end of the guest."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                id, type, data = await read_frame(self.reader)
                if id in self.commands:
                    self.commands[id].put_nowait((type, data))
        self.ended = True
        for queue in self.commands.values():
            queue.put_nowait((EXIT, None))

    def open_command(self):
        id, self.next_id = self.next_id, self.next_id + 1
        self.commands[id] = asyncio.Queue()
        if self.ended:
            self.commands[id].put_nowait((EXIT, None))
        return id, self.commands[id]

    async def run(self, argv, output=None):
        """Runs a command in the guest, its output to ours; returns its status."""
        id, queue = self.open_command()
        self.writer.write(pack(id, RUN, run_frame(argv)))
        try:
            while True:
                type, data = await queue.get()
                if type == EXIT and data is None:
                    raise LabError("the guest died")
                if type == EXIT:
                    return exit_code(*struct.unpack("<I", data))
                stream = (output or sys.stdout.buffer) if type == OUTPUT else sys.stderr.buffer
                stream.write(data)
                stream.flush()
        finally:
            del self.commands[id]

    async def serve_client(self, reader, writer):
        """One lab/guest: its frames go to the agent under an id of ours, until EXIT. If it goes, its command is killed."""
        id, queue = self.open_command()
        incoming = asyncio.create_task(self.relay_client(id, reader))
        try:
            while True:
                type, data = await queue.get()
                writer.write(pack(0, type, data or b""))
                await writer.drain()
                if type == EXIT:
                    break
        except (OSError, asyncio.CancelledError):
            pass  # the client or the whole run ends; asyncio would report the latter as an error
        finally:
            del self.commands[id]
            incoming.cancel()
            writer.close()

    async def relay_client(self, id, reader):
        try:
            while True:
                _, type, data = await read_frame(reader)
                self.writer.write(pack(id, type, data))
                await self.writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            self.writer.write(pack(id, SIGNAL, bytes([signal.SIGKILL])))

    async def prepare(self):
        """Boots the guest, with all that the options ask for, and lets clients in."""
        await self.boot()
        await self.serve()

    async def run_host(self, script, stdout=None, **environment):
        """Runs a shell script on this machine, in the guest's network; returns its status."""
        environment = dict(os.environ, PASTE_LAB_VM=self.directory, PASTE_GUEST="10.77.0.2", PASTE_GUEST6="fd77::2",
                           PASTE_ACCELERATOR="kvm" if self.kvm else "tcg", PATH=LAB + ":" + os.environ["PATH"], **environment)
        process = await asyncio.create_subprocess_exec("bash", "-c", script, cwd=self.start_directory, env=environment,
                                                       stdout=stdout, start_new_session=True, preexec_fn=die_with_parent)
        try:
            status = await process.wait()
            return status if status >= 0 else 128 - status
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    # diagnosis and end

    async def qmp(self, command, **arguments):
        """Runs one QMP command; each caller has the monitor alone."""
        reader, writer = await asyncio.open_unix_connection("qmp")
        await reader.readline()
        for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            writer.write(json.dumps(request).encode() + b"\n")
            answer = {}
            while "return" not in answer and "error" not in answer:
                answer = json.loads(await reader.readline())
        writer.close()
        return answer.get("return")

    async def dump_stacks(self):
        """Asks a stuck kernel, over the serial line (break, key), what its CPUs and tasks do; into the console log."""
        registers = await self.qmp("human-monitor-command", **{"command-line": "info registers -a"})
        with open("registers", "w") as f:
            f.write(registers or "")
        _, tty = await asyncio.open_unix_connection("tty")
        for key in b"9lwt":
            await self.qmp("chardev-send-break", id="console")
            tty.write(bytes([key]))
            await tty.drain()
            await self.console_quiet()
        tty.close()

    async def console_quiet(self):
        size = -1
        while size != os.path.getsize(self.console):
            size = os.path.getsize(self.console)
            await asyncio.sleep(1)

    def kernel_report(self):
        """The console log from the first sign of trouble after boot, or nothing."""
        if not os.path.exists(self.console):    # QEMU did not start
            return b""
        with open(self.console, "rb") as f:
            f.seek(self.boot_log_size)
            text = f.read()
        found = [text.find(report) for report in REPORTS if report in text]
        return text[text.rfind(b"\n", 0, min(found)) + 1:] if found else b""

    def close(self):
        self.kill_qemu()
        for name in ("agent", "tty", "qmp", "control"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        for i in range(0 if self.pmem_directory else len(self.options.pmem)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.pmem_file(i))


def conduct(machine, session):
    """Runs session(), a coroutine; returns its status, or 125 and words for what a user should know."""
    async def interruptible():
        task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await session()

    try:
        status = asyncio.run(interruptible())
    except LabError as error:
        say(str(error))
        status = 125
    except asyncio.CancelledError:
        say("interrupted")
        return 130
    report = machine.kernel_report()
    if report:
        say("the guest's kernel reports:")
        sys.stderr.write(report[:6000].decode(errors="replace"))
        return 125
    return status


def forget_old_runs(runs, ours, keep=20):
    """But those under way: a name ends in the number of its process."""
    ended = [path for path in glob.glob(os.path.join(runs, "*-*"))
             if path != ours and not os.path.exists("/proc/" + path.rsplit("-", 1)[1])]
    for path in sorted(ended, key=os.path.getmtime)[:-keep]:
        shutil.rmtree(path, ignore_errors=True)
