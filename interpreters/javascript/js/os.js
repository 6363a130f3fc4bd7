// node:os: what a sandbox tells about its machine, which is little on purpose.
import { host } from "./host.js";

const signals = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15 };
const errno = { EPERM: 1, ENOENT: 2, EIO: 5, EBADF: 9, EACCES: 13, EEXIST: 17, EXDEV: 18, ENOTDIR: 20, EISDIR: 21, EINVAL: 22, ENOSPC: 28, ENOTEMPTY: 39 };
const cpu = () => ({ model: "wasm", speed: 0, times: { user: Math.floor(host.now()), nice: 0, sys: 0, idle: 0, irq: 0 } });

export const os = {
  EOL: "\n",
  devNull: "/dev/null",
  constants: { signals, errno, priority: {}, dlopen: {} },
  arch: () => "wasm32",
  availableParallelism: () => 1,
  cpus: () => [cpu()],
  endianness: () => "LE",
  freemem: () => 0,
  homedir: () => "/work",
  hostname: () => "sandbox",
  loadavg: () => [0, 0, 0],
  machine: () => "wasm32",
  networkInterfaces: () => ({}),
  platform: () => "wasi",
  release: () => "0.1.0",
  tmpdir: () => "/tmp",
  totalmem: () => host.memory().rss,
  type: () => "WASI",
  uptime: () => host.now() / 1e3,
  userInfo: () => ({ uid: -1, gid: -1, username: "sandbox", homedir: "/work", shell: null }),
  version: () => "cofferdam",
};
