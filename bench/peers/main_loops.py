"""Main loops of kernels by their machine code: how many of a loop's instructions are tensor-core ones.

    python3 bench/peers/main_loops.py build/release/kernels/machine_code/attention.sm_90.cubin ...

For each kernel of each cubin the innermost loop with the most tensor-core instructions, the shorter where two have as many:
its instructions as they lie (what is seldom run counts too), the shortest way round (what is run at least), and what kinds
lie there. Registers and stack are the kernel's. CUOBJDUMP names the tool where it is not in the PATH (pip has it as
nvidia-cuda-cuobjdump).
"""
import os
import re
import subprocess
import sys

CUOBJDUMP = os.environ.get("CUOBJDUMP", "cuobjdump")
KINDS = {"tensor": r"HMMA|HGMMA", "ldmatrix": r"LDSM", "copies": r"LDGSTS", "special": r"MUFU", "local": r"LDL|STL",
         "barriers": r"BAR\.", "empty": r"^@!U?PT "}


def kernels(cubin):
    """Name -> [(address, instruction)]."""
    listing = subprocess.run([CUOBJDUMP, "-sass", cubin], check=True, capture_output=True, text=True).stdout
    result, name = {}, None
    for line in listing.splitlines():
        if "Function :" in line:
            name = line.split(":")[1].strip()
            result[name] = []
        match = re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?);", line)
        if match and name:
            result[name].append((int(match[1], 16), match[2]))
    return result


def resources(cubin):
    """Name -> (registers, stack bytes)."""
    listing = subprocess.run([CUOBJDUMP, "-res-usage", cubin], check=True, capture_output=True, text=True)
    found = re.findall(r"Function (\S+?):\s*REG:(\d+) STACK:(\d+)", listing.stdout + listing.stderr)
    return {name: (int(registers), int(stack)) for name, registers, stack in found}


def loop_of(header, tail, before):
    """Addresses of the instructions that lead to `tail` without coming past `header`."""
    found, left = {header, tail}, [tail]
    while left:
        address = left.pop()
        if address == header:
            continue
        for earlier in before.get(address, ()):
            if earlier not in found:
                found.add(earlier)
                left.append(earlier)
    return found


def main_loop(code):
    """The main loop's instructions, and the shortest way round; (nothing, 0) where no loop has a tensor-core one."""
    before, back = {}, []
    for (address, text), (following, _) in zip(code, code[1:] + [(None, "")]):
        target = re.search(r"\bBRA(?:\.\S+)?\s.*?(0x[0-9a-f]+)", text)
        if target:
            before.setdefault(int(target[1], 16), []).append(address)
            if int(target[1], 16) < address:
                back.append((int(target[1], 16), address))
        if text.startswith("@") or not re.match(r"(BRA|EXIT|RET)\b", text):
            before.setdefault(following, []).append(address)
    tensor = {address for address, text in code if re.search(KINDS["tensor"], text)}
    loops = [(loop_of(header, tail, before), header, tail) for header, tail in back]
    loops = [loop for loop in loops if loop[0] & tensor]
    innermost = [loop for loop in loops if not any(other < loop[0] for other, _, _ in loops)]
    if not innermost:
        return [], 0
    inside, header, tail = max(innermost, key=lambda loop: (len(loop[0] & tensor), -len(loop[0])))
    # Backwards from the tail: how few instructions lead to it.
    fewest, left = {tail: 1}, [tail]
    while header not in fewest:
        left = [earlier for address in left if address != header for earlier in before.get(address, ())
                if earlier in inside and fewest.setdefault(earlier, fewest[address] + 1) == fewest[address] + 1]
    return [text for address, text in code if address in inside], fewest[header]


def readable(name):
    text = subprocess.run(["c++filt", name], check=True, capture_output=True, text=True).stdout.strip()
    text = re.sub(r"\(anonymous namespace\)::|tiltshift::kernels::|^void ", "", text)
    text = re.sub(r"\(\w+\)(?=\d)", "", text)  # what type a template's number is of
    return text.split("(")[0][:110]


def main(cubins):
    print("| kernel | loop | shortest way | " + " | ".join(KINDS) + " | tensor-core share, of the shortest way | registers | stack |")
    print("|" + "---|" * (len(KINDS) + 6))
    for cubin in cubins:
        used = resources(cubin)
        for name, code in kernels(cubin).items():
            body, shortest = main_loop(code)
            if not body:
                continue
            counts = [sum(bool(re.search(kind, t)) for t in body) for kind in KINDS.values()]
            registers, stack = used.get(name, ("?", "?"))
            print(f"| {readable(name)} | {len(body)} | {shortest} | " + " | ".join(map(str, counts)) +
                  f" | {counts[0] / len(body):.0%}, {counts[0] / shortest:.0%} | {registers} | {stack} |")


if __name__ == "__main__":
    main(sys.argv[1:])
