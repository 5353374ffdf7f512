// A library to be preloaded into a process (LD_PRELOAD): it counts the system calls that change
// files below one folder, SQLite's included, and at one of them kills the process, cuts the power,
// or lets the call fail. Each such call is a step.
//
// Power: what was written, made, renamed or removed but not synced is undone first, all of it or
// what a seed chooses: data in any order, entries of folders from the newest back, as journals do.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

extern "C" [[noreturn]] void faults_cut_power();

namespace {

enum Kind { WRITE = 1, SYNC = 2, OPEN = 4, RENAME = 8, REMOVE = 16, MAKE = 32, TRUNCATE = 64, READ = 128 };
enum Mode { COUNT = 0, KILL = 1, TEAR = 2, POWER = 3, FAIL = 4, FAIL_FROM = 5, SHORTEN = 6 };

struct Data {  // bytes that a write replaced
  int file;    // a descriptor of our own, never closed: closing one drops SQLite's locks
  ino_t inode;
  off_t offset, size;
  std::string bytes;
};

struct Entry {  // what happened to a name
  Kind kind;
  std::string path, second, folder;
  mode_t mode;
};

bool counting = false;
std::string root, grave;
Mode mode = COUNT;
long step_wanted = 0, steps = 0;
int kinds = 0, error_number = EIO;
unsigned seed = 0;
bool keep_undo = false;
std::vector<std::string> trace;
std::vector<Data> data;
std::vector<Entry> entries;
std::vector<std::pair<ino_t, int>> own_files;
long graves = 0;
std::recursive_mutex lock;
thread_local bool inside = false;

template <typename Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) (real<decltype(&::name)>(#name))

std::string absolute(int folder, const char* path) {
  char buffer[PATH_MAX];
  if (path[0] == '/') return path;
  std::string base;
  if (folder == AT_FDCWD) {
    if (getcwd(buffer, sizeof buffer) != nullptr) base = buffer;
  } else {
    const std::string link = "/proc/self/fd/" + std::to_string(folder);
    const ssize_t size = readlink(link.c_str(), buffer, sizeof buffer - 1);
    if (size > 0) base.assign(buffer, size);
  }
  return base + "/" + path;
}

std::string path_of(int file) {
  char buffer[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(file);
  const ssize_t size = readlink(link.c_str(), buffer, sizeof buffer - 1);
  return size > 0 ? std::string(buffer, size) : std::string();
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

bool watched(const std::string& path) {
  return counting && !inside && (path + "/").compare(0, root.size(), root) == 0;
}

bool exists(const std::string& path) {
  struct stat found;
  return lstat(path.c_str(), &found) == 0;
}

void lose_what_is_not_synced() {
  std::mt19937 chance(seed);
  for (auto item = data.rbegin(); item != data.rend(); ++item) {
    if (seed != 0 && chance() % 2) continue;  // this one reached the disk
    REAL(pwrite)(item->file, item->bytes.data(), item->bytes.size(), item->offset);
    struct stat now;
    if (fstat(item->file, &now) == 0 && now.st_size > item->size &&
        item->offset + static_cast<off_t>(item->bytes.size()) >= item->size) {
      if (REAL(ftruncate)(item->file, item->size) != 0) _exit(90);
    }
  }
  size_t lost = seed == 0 ? entries.size() : chance() % (entries.size() + 1);
  for (auto item = entries.rbegin(); item != entries.rend() && lost > 0; ++item, --lost) {
    switch (item->kind) {
      case OPEN: REAL(unlink)(item->path.c_str()); break;
      case MAKE: REAL(rmdir)(item->path.c_str()); break;
      case REMOVE:
        if (item->second.empty()) REAL(mkdir)(item->path.c_str(), item->mode);
        else REAL(rename)(item->second.c_str(), item->path.c_str());
        break;
      case RENAME:
        REAL(rename)(item->second.c_str(), item->path.c_str());
        break;
      default: break;
    }
  }
}

[[noreturn]] void die() {
  ::kill(getpid(), SIGKILL);
  for (;;) pause();
}

// Counts a step and says whether the call is to fail; may not return at all.
bool step(Kind kind, const std::string& path, const char* name) {
  if (kind == READ && !(kinds & READ)) return false;
  ++steps;
  trace.push_back(std::string(name) + " " + (path + "/").substr(root.size()));
  const bool chosen = kinds == 0 || (kinds & kind);
  if (!chosen) return false;
  static long matching;
  if (steps == 1) matching = 0;
  ++matching;
  const long place = kinds == 0 ? steps : matching;
  if (mode == FAIL_FROM && place >= step_wanted) {
    errno = error_number;
    return true;
  }
  if (place != step_wanted) return false;
  if (mode == KILL) die();
  if (mode == TEAR && kind != WRITE) die();
  if (mode == POWER) faults_cut_power();
  if (mode == FAIL) {
    errno = error_number;
    return true;
  }
  return false;
}

bool now_is(Mode wanted) {
  return mode == wanted && steps > 0 && kinds == 0 && steps == step_wanted;
}

int own_file(const std::string& path, ino_t inode) {
  for (const auto& item : own_files)
    if (item.first == inode) return item.second;
  const int file = REAL(open64)(path.c_str(), O_RDWR | O_CLOEXEC, 0);
  own_files.emplace_back(inode, file);
  return file;
}

void remember_data(int file, const std::string& path, off_t offset, size_t size) {
  if (!keep_undo) return;
  struct stat found;
  if (fstat(file, &found) != 0 || !S_ISREG(found.st_mode)) return;
  if (path.size() > 4 && path.compare(path.size() - 4, 4, "-shm") == 0) return;  // not kept
  const int own = own_file(path, found.st_ino);
  if (own < 0) return;
  std::string bytes(size, '\0');
  const ssize_t had = REAL(pread)(own, &bytes[0], size, offset);
  bytes.resize(had > 0 ? had : 0);
  data.push_back({own, found.st_ino, offset, found.st_size, bytes});
}

void forget_synced(int file, const std::string& path) {
  if (!keep_undo) return;
  struct stat found;
  if (fstat(file, &found) != 0) return;
  if (S_ISDIR(found.st_mode)) {
    std::vector<Entry> left;
    for (auto& item : entries)
      if (item.folder != path) left.push_back(std::move(item));
    entries = std::move(left);
    return;
  }
  std::vector<Data> left;
  for (auto& item : data)
    if (item.inode != found.st_ino) left.push_back(std::move(item));
  data = std::move(left);
}

std::string bury(const std::string& path) {
  const std::string place = grave + "/" + std::to_string(getpid()) + "-" + std::to_string(++graves);
  return link(path.c_str(), place.c_str()) == 0 ? place : std::string();
}

off_t position(int file) {
  const int flags = fcntl(file, F_GETFL);
  struct stat found;
  if ((flags & O_APPEND) && fstat(file, &found) == 0) return found.st_size;
  return lseek(file, 0, SEEK_CUR);
}

template <typename Call>
int opening(int folder, const char* name, int flags, Call call) {
  if (!counting || inside || !(flags & (O_WRONLY | O_RDWR | O_CREAT))) return call();
  std::lock_guard<std::recursive_mutex> guard(lock);
  const std::string path = absolute(folder, name);
  if (!watched(path)) return call();
  const bool made = (flags & O_CREAT) && !exists(path);
  if (step(OPEN, path, made ? "create" : "open")) return -1;
  if ((flags & O_TRUNC) && !made && keep_undo) {
    const int old = REAL(open64)(path.c_str(), O_RDWR | O_CLOEXEC, 0);
    struct stat found;
    if (old >= 0 && fstat(old, &found) == 0) remember_data(old, path, 0, found.st_size);
  }
  const int file = call();
  if (file >= 0 && made && keep_undo) entries.push_back({OPEN, path, "", folder_of(path), 0});
  return file;
}

template <typename Call>
ssize_t writing(int file, off_t offset, size_t size, Call call) {
  if (!counting || inside) return call(size);
  std::lock_guard<std::recursive_mutex> guard(lock);
  const std::string path = path_of(file);
  if (!watched(path)) return call(size);
  if (step(WRITE, path, "write")) return -1;
  remember_data(file, path, offset < 0 ? position(file) : offset, size);
  if (now_is(TEAR)) {
    call(size / 2);
    die();
  }
  const bool shorten = mode == SHORTEN && size > 1;
  return call(shorten ? (size + 1) / 2 : size);
}

template <typename Call>
int syncing(int file, Call call) {
  if (!counting || inside) return call();
  std::lock_guard<std::recursive_mutex> guard(lock);
  const std::string path = path_of(file);
  if (!watched(path)) return call();
  if (step(SYNC, path, "sync")) return -1;
  const int result = call();
  if (result == 0) forget_synced(file, path);
  return result;
}

template <typename Call>
int truncating(int file, off_t size, Call call) {
  if (!counting || inside) return call();
  std::lock_guard<std::recursive_mutex> guard(lock);
  const std::string path = path_of(file);
  if (!watched(path)) return call();
  if (step(TRUNCATE, path, "truncate")) return -1;
  struct stat found;
  if (fstat(file, &found) == 0 && found.st_size > size)
    remember_data(file, path, size, found.st_size - size);
  return call();
}

template <typename Call>
int renaming(const std::string& from, const std::string& to, Call call) {
  if (!watched(from) && !watched(to)) return call();
  std::lock_guard<std::recursive_mutex> guard(lock);
  if (step(RENAME, to, "rename")) return -1;
  const std::string replaced = keep_undo && exists(to) ? bury(to) : std::string();
  const int result = call();
  if (result == 0 && keep_undo) {
    if (!replaced.empty()) entries.push_back({REMOVE, to, replaced, folder_of(to), 0});
    entries.push_back({RENAME, from, to, folder_of(to), 0});
  }
  return result;
}

template <typename Call>
int removing(const std::string& path, bool folder, Call call) {
  if (!watched(path)) return call();
  std::lock_guard<std::recursive_mutex> guard(lock);
  if (step(REMOVE, path, folder ? "rmdir" : "remove")) return -1;
  struct stat found = {};
  lstat(path.c_str(), &found);
  const std::string place = keep_undo && !folder ? bury(path) : std::string();
  const int result = call();
  if (result == 0 && keep_undo)
    entries.push_back({REMOVE, path, place, folder_of(path), found.st_mode});
  return result;
}

template <typename Call>
int making(const std::string& path, Call call) {
  if (!watched(path)) return call();
  std::lock_guard<std::recursive_mutex> guard(lock);
  if (step(MAKE, path, "mkdir")) return -1;
  const int result = call();
  if (result == 0 && keep_undo) entries.push_back({MAKE, path, "", folder_of(path), 0});
  return result;
}

// What nobody may write to is said before it is tried.
bool refusing(int folder, const char* path, int wanted) {
  if (!counting || inside || mode != FAIL_FROM || !(wanted & W_OK)) return false;
  if (!watched(absolute(folder, path))) return false;
  errno = error_number;
  return true;
}

template <typename Call>
ssize_t reading(int file, Call call) {
  if (!counting || inside || !(kinds & READ)) return call();
  std::lock_guard<std::recursive_mutex> guard(lock);
  const std::string path = path_of(file);
  if (!watched(path)) return call();
  return step(READ, path, "read") ? -1 : call();
}

}  // namespace

extern "C" {

void faults_begin(const char* folder, const char* buried, int how, long at, int which, int number,
                  unsigned chance, int undo) {
  root = folder;
  grave = buried;
  mode = static_cast<Mode>(how);
  step_wanted = at;
  kinds = which;
  error_number = number;
  seed = chance;
  keep_undo = undo;
  steps = 0;
  trace.clear();
  counting = true;
}

long faults_end() {
  counting = false;
  return steps;
}

void faults_cut_power() {
  inside = true;
  lose_what_is_not_synced();
  die();
}

const char* faults_step(long number) { return trace[number - 1].c_str(); }

#define OPEN_ARGUMENT                    \
  mode_t permissions = 0;                \
  if (flags & (O_CREAT | O_TMPFILE)) {   \
    va_list list;                        \
    va_start(list, flags);               \
    permissions = va_arg(list, mode_t);  \
    va_end(list);                        \
  }

int open(const char* path, int flags, ...) {
  OPEN_ARGUMENT
  return opening(AT_FDCWD, path, flags, [&] { return REAL(open)(path, flags, permissions); });
}
int open64(const char* path, int flags, ...) {
  OPEN_ARGUMENT
  return opening(AT_FDCWD, path, flags, [&] { return REAL(open64)(path, flags, permissions); });
}
int openat(int folder, const char* path, int flags, ...) {
  OPEN_ARGUMENT
  return opening(folder, path, flags, [&] { return REAL(openat)(folder, path, flags, permissions); });
}
int openat64(int folder, const char* path, int flags, ...) {
  OPEN_ARGUMENT
  return opening(folder, path, flags,
                 [&] { return REAL(openat64)(folder, path, flags, permissions); });
}

ssize_t write(int file, const void* bytes, size_t size) {
  return writing(file, -1, size, [&](size_t some) { return REAL(write)(file, bytes, some); });
}
ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  return writing(file, offset, size,
                 [&](size_t some) { return REAL(pwrite)(file, bytes, some, offset); });
}
ssize_t pwrite64(int file, const void* bytes, size_t size, off64_t offset) {
  return writing(file, offset, size,
                 [&](size_t some) { return REAL(pwrite64)(file, bytes, some, offset); });
}
ssize_t sendfile(int out, int in, off_t* offset, size_t size) {
  return writing(out, -1, size, [&](size_t some) { return REAL(sendfile)(out, in, offset, some); });
}
ssize_t sendfile64(int out, int in, off64_t* offset, size_t size) {
  return writing(out, -1, size,
                 [&](size_t some) { return REAL(sendfile64)(out, in, offset, some); });
}

int fsync(int file) { return syncing(file, [&] { return REAL(fsync)(file); }); }
int fdatasync(int file) { return syncing(file, [&] { return REAL(fdatasync)(file); }); }

int ftruncate(int file, off_t size) noexcept {
  return truncating(file, size, [&] { return REAL(ftruncate)(file, size); });
}
int ftruncate64(int file, off64_t size) noexcept {
  return truncating(file, size, [&] { return REAL(ftruncate64)(file, size); });
}

int rename(const char* from, const char* to) noexcept {
  return renaming(absolute(AT_FDCWD, from), absolute(AT_FDCWD, to),
                  [&] { return REAL(rename)(from, to); });
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  return renaming(absolute(from_folder, from), absolute(to_folder, to),
                  [&] { return REAL(renameat)(from_folder, from, to_folder, to); });
}

int unlink(const char* path) noexcept {
  return removing(absolute(AT_FDCWD, path), false, [&] { return REAL(unlink)(path); });
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return removing(absolute(folder, path), flags & AT_REMOVEDIR,
                  [&] { return REAL(unlinkat)(folder, path, flags); });
}
int rmdir(const char* path) noexcept {
  return removing(absolute(AT_FDCWD, path), true, [&] { return REAL(rmdir)(path); });
}

int mkdir(const char* path, mode_t permissions) noexcept {
  return making(absolute(AT_FDCWD, path), [&] { return REAL(mkdir)(path, permissions); });
}
int mkdirat(int folder, const char* path, mode_t permissions) noexcept {
  return making(absolute(folder, path), [&] { return REAL(mkdirat)(folder, path, permissions); });
}

int access(const char* path, int wanted) noexcept {
  return refusing(AT_FDCWD, path, wanted) ? -1 : REAL(access)(path, wanted);
}
int faccessat(int folder, const char* path, int wanted, int flags) noexcept {
  return refusing(folder, path, wanted) ? -1 : REAL(faccessat)(folder, path, wanted, flags);
}

ssize_t read(int file, void* bytes, size_t size) {
  return reading(file, [&] { return REAL(read)(file, bytes, size); });
}
ssize_t pread(int file, void* bytes, size_t size, off_t offset) {
  return reading(file, [&] { return REAL(pread)(file, bytes, size, offset); });
}
ssize_t pread64(int file, void* bytes, size_t size, off64_t offset) {
  return reading(file, [&] { return REAL(pread64)(file, bytes, size, offset); });
}

}  // extern "C"
