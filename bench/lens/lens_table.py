"""The lens's table: a line a workload, a column a platform; floors below, natively."""


def heading(row):
    knob = row["knobs"].split(".")[-1]
    return row["platform"] + (f" {knob}" if knob else "")


def number(row):
    if row is None:
        return ""
    return f"{float(row['value']):,.0f}" if row["status"] == "ok" else row["status"]


def lines(names, columns, by_cell):
    wide = max((len(n) for n in names), default=0)
    widths = {c: max(12, len(c)) for c in columns}
    yield "instructions".ljust(wide) + "".join(f"  {c:>{widths[c]}}" for c in columns)
    for name in names:
        yield name.ljust(wide) + "".join(f"  {number(by_cell.get((c, name))):>{widths[c]}}" for c in columns)


def render(rows):
    """Instructions executed an operation. A workload's loop is counted with it: a handful of instructions."""
    columns = list(dict.fromkeys(heading(r) for r in rows))
    by_cell = {(heading(r), r["workload"]): r for r in rows}
    names = list(dict.fromkeys(r["workload"] for r in rows))
    floors = [n for n in names if n.startswith("floor-")]
    text = list(lines([n for n in names if n not in floors], columns, by_cell)) if len(floors) < len(names) else []
    if floors:
        text += [""] * bool(text) + list(lines(floors, columns[:1], by_cell))
    return "\n".join(text) + "\n"
