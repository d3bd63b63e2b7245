#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""rseq_sequences_test.py - the restartable sequences of both architectures, as they ended up in a linked program.

qemu-user has no rseq, so the AArch64 sequences never run in our tests: here they are disassembled and checked against
what the kernel asks of them (Documentation/userspace-api/rseq.rst and kernel/rseq.c), and the x86-64 ones likewise.
A descriptor: u32 version, u32 flags, u64 start, u64 length up to behind the commit, u64 abort handler; all in section
__rseq_cs of the program, which is linked statically so that addresses are final.
"""
import os
import re
import struct
import subprocess
import sys

BUILD = os.environ["BUILD"]
OPERATIONS = ["rseq_pop", "rseq_push", "rseq_push_batch", "rseq_pop_batch"]
ARCHITECTURES = {
    "x86-64": dict(
        program="test/linked/c_program-static", objdump="objdump", signature=0x53053053,
        commit=r"^mov[bwlq]? %\w+,(0x[0-9a-f]+)?\([%\w,]+\)$",
        arm=r"^mov +%(\w+),0x8\(%\w+\)$",
        forbidden=r"^(call|syscall|push|pop|ret|lock|xchg|rep|int)\b|\(%rsp|\(%rbp\)$",
        branch=r"^j\w+ +([0-9a-f]+)"),
    "aarch64": dict(
        program="aarch64/test/linked/c_program-static", objdump="aarch64-linux-gnu-objdump", signature=0xd428bc00,
        commit=r"^strh? +[wx]\d+, \[x\d+(, [^\]]*)?\]$",
        arm=r"^str +(x\d+), \[x\d+, #8\]$",
        forbidden=r"^(bl|blr|br|ret|svc|ldx|stx|ldax|stlx|cas|swp|ldadd|ldset|ldclr|stp|ldp)\w*\b|\[sp",
        branch=r"^(?:b|b\.\w+|cbn?z|tbn?z) .*?([0-9a-f]+) <"),
}


class Elf:
    """Sections and function symbols of a little-endian ELF64 file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        if self.bytes[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path} is not ELF64")
        offset = struct.unpack_from("<Q", self.bytes, 40)[0]
        count, names = struct.unpack_from("<HH", self.bytes, 60)
        headers = [struct.unpack_from("<IIQQQQIIQQ", self.bytes, offset + 64 * i) for i in range(count)]
        names_at = headers[names][4]
        self.sections = {self.string(names_at + h[0]): h for h in headers}
        self.functions = {}
        table, strings = self.sections[".symtab"], self.sections[".strtab"]
        for at in range(table[4], table[4] + table[5], 24):
            name, info, _, _, value, size = struct.unpack_from("<IBBHQQ", self.bytes, at)
            if info & 15 == 2:
                self.functions[value] = (self.string(strings[4] + name), size)

    def string(self, at):
        return self.bytes[at:self.bytes.index(b"\0", at)].decode()

    def section(self, name):
        header = self.sections[name]
        return self.bytes[header[4]:header[4] + header[5]]

    def read(self, address, size):
        """Bytes at a run-time address."""
        for header in self.sections.values():
            if header[1] == 1 and header[3] <= address < header[3] + header[5]:
                at = header[4] + address - header[3]
                return self.bytes[at:at + size]
        raise ValueError(f"{address:#x} is in no section")

    def function_at(self, address):
        """Name and end of the function that contains the address."""
        for value, (name, size) in self.functions.items():
            if value <= address < value + size:
                return name, value, value + size
        raise ValueError(f"{address:#x} is in no function")


def disassemble(objdump, path, start, stop):
    """[(address, instruction)] of [start, stop)."""
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", f"--start-address={start:#x}",
                           f"--stop-address={stop:#x}", path], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ *([0-9a-f]+):\t(.*)$", text, re.M)
    return [(int(address, 16), re.sub(r"\s+", " ", instruction.split("//")[0]).strip())
            for address, instruction in found]


def require(condition, what):
    if not condition:
        raise ValueError(what)


def check_sequence(arch, path, elf, descriptor_at, descriptor):
    """Checks one descriptor; returns the name of its function."""
    version, flags, start, length, abort = struct.unpack("<IIQQQ", descriptor)
    require(version == 0 and flags == 0, f"version {version}, flags {flags}")
    require(descriptor_at % 32 == 0, "the descriptor is not aligned to 32 bytes")
    name, entry, end = elf.function_at(start)
    commit_end = start + length
    require(0 < length < 256 and commit_end <= end, f"{name}: the section has {length} bytes")

    require(not start <= abort < commit_end, f"{name}: the abort handler is inside the section")
    signature = struct.unpack("<I", elf.read(abort - 4, 4))[0]
    require(signature == arch["signature"], f"{name}: signature {signature:#x} before the abort handler")

    body = disassemble(arch["objdump"], path, start, commit_end)
    require(len(body) >= 5, f"{name}: {len(body)} instructions")
    for address, instruction in body:
        require(not re.search(arch["forbidden"], instruction), f"{name}: {instruction} in the section")
        if target := re.match(arch["branch"], instruction):
            require(start <= int(target[1], 16) <= end, f"{name}: {instruction} leaves the function")
    require(re.match(arch["commit"], body[-1][1]), f"{name}: the last instruction is no store: {body[-1][1]}")

    # Armed by the very instruction before the section, with the address of this descriptor, and the abort starts there.
    before = disassemble(arch["objdump"], path, entry, start)
    arm = re.match(arch["arm"], before[-1][1])
    require(arm, f"{name}: before the section stands {before[-1][1]}, which is no store to rseq_cs")
    loads = [(a, i) for a, i in before[-4:-1] if re.search(rf"%?{arm[1]}\b", i)]
    require(any(f"{descriptor_at:x}" in i or f"{descriptor_at & ~0xfff:x}" in i or
                re.search(rf"0x{descriptor_at & 0xfff:x}\b", i) for _, i in loads),
            f"{name}: {loads} does not load the descriptor's address {descriptor_at:#x}")
    handler = disassemble(arch["objdump"], path, abort, abort + 16)[0][1]
    target = re.match(r"^(?:jmp|b) +([0-9a-f]+)", handler)
    require(target, f"{name}: the abort handler is no jump: {handler}")
    require(int(target[1], 16) == loads[0][0], f"{name}: the abort handler does not go back to the arming instruction")
    return name


def main():
    failed = False
    for label, arch in ARCHITECTURES.items():
        path = os.path.join(BUILD, arch["program"])
        seen = []
        try:
            elf = Elf(path)
            header, table = elf.sections["__rseq_cs"], elf.section("__rseq_cs")
            require(len(table) % 32 == 0 and table, f"section __rseq_cs has {len(table)} bytes")
        except (OSError, KeyError, ValueError) as error:
            print(f"not ok {label}: {error}")
            failed = True
            continue
        for at in range(0, len(table), 32):
            try:
                name = check_sequence(arch, path, elf, header[3] + at, table[at:at + 32])
                seen.append(name)
                print(f"ok {label} {name}")
            except (ValueError, IndexError) as error:
                failed = True
                print(f"not ok {label}, descriptor {at // 32}: {error}")
        # Every sequence is in a function of its own, found by its name.
        for operation in OPERATIONS:
            there = sum(f"{len(operation)}{operation}E" in name for name in seen)
            failed |= there != 1
            print(f"{'ok' if there == 1 else 'not ok'} {label} has one sequence of {operation}")
        only_ours = all(any(o in name for o in OPERATIONS) for name in seen)
        failed |= not only_ours
        print(f"{'ok' if only_ours else 'not ok'} {label} has sequences nowhere else: {' '.join(seen)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
