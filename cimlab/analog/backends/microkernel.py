"""One physical column against 32 input vectors, and 16 columns against one, as explicit vector code for numba.

For integer cells, a lane is one input vector (an output pixel); a 16-bit lane holds one input bit of up to 16
wordlines. AND with the cells' bit plane and popcount give 32 partial sums at once, which go through the ADC and the
shift-and-add in registers: no partial sum reaches memory. The vectors are plain LLVM vectors, so that the code
becomes VPOPCNTW on AVX-512 BITALG, byte shuffles on AVX2, CNT on Arm. For real cells (`sum_cells`), a lane is a
physical column.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

intrinsic: Any = extending.intrinsic
"""Untyped, because numba's stub takes the typing context for an argument of the call."""

LANES = 32
LANE_ROWS = 16
"""Wordlines that one 16-bit lane holds."""
SUM_LANES = 16
"""Physical columns that `sum_cells` adds up at once."""

_I16, _I32 = ir.IntType(16), ir.IntType(32)
_LANE16 = ir.VectorType(_I16, LANES)
_HALF32, _HALF_FLOAT = ir.VectorType(_I32, LANES // 2), ir.VectorType(ir.FloatType(), LANES // 2)


@intrinsic
def convert_narrow(
    typingctx, cycles, dac, cells, planes, weights, words, factor, offset, shift, top, out, coefficient
):
    """out[lane] += coefficient * sum_t 2^(t dac) code_t, code = min((S * factor + offset) >> shift, top).

    All in 16 bits: the caller has checked that neither S * factor + offset nor the sum of codes overflows.
    `len(cycles)`, `len(dac)`, `len(cells)` are input cycles, input bits per cycle and bits per cell. `planes` points
    at [plane, word, lane] 16-bit words, `weights` at [cell bit, word] 32-bit words that hold 16 bits twice.
    """
    shape = (cycles.count, dac.count, cells.count)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        planes, weights, words, factor, offset, shift, top, out, coefficient = arguments[3:]
        sums = _partial_sums(builder, shape, planes, weights, words)
        factor, offset, shift, top = (
            _splat(builder, builder.trunc(v, _I16), _LANE16) for v in (factor, offset, shift, top)
        )
        step = ir.Constant(_LANE16, [shape[1]] * LANES)
        total = ir.Constant(_LANE16, None)
        for partial in reversed(sums):
            code = builder.lshr(builder.add(builder.mul(partial, factor), offset), shift)
            code = builder.select(builder.icmp_unsigned("<", code, top), code, top)
            total = builder.add(builder.shl(total, step), code)
        halves = [builder.zext(half, _HALF32) for half in _halves(builder, total)]
        _accumulate(builder, halves, out, coefficient)
        return context.get_dummy_value()

    arguments = (cycles, dac, cells, planes, weights, words, factor, offset, shift, top, out, coefficient)
    return types.void(*arguments), generate


@intrinsic
def convert_wide(typingctx, cycles, dac, cells, planes, weights, words, scale, offset, top, out, coefficient):
    """As `convert_narrow`, with code = trunc(clip(S * scale + offset, 0, top)) in float32 and sums in 32 bits."""
    shape = (cycles.count, dac.count, cells.count)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        planes, weights, words, scale, offset, top, out, coefficient = arguments[3:]
        sums = _partial_sums(builder, shape, planes, weights, words)
        gain, shift, ceiling = (_splat(builder, v, _HALF_FLOAT) for v in (scale, offset, top))
        floor = ir.Constant(_HALF_FLOAT, [0.0] * (LANES // 2))
        step = ir.Constant(_HALF32, [shape[1]] * (LANES // 2))
        totals = [ir.Constant(_HALF32, None)] * 2
        for partial in reversed(sums):
            for i, half in enumerate(_halves(builder, partial)):
                level = builder.sitofp(builder.zext(half, _HALF32), _HALF_FLOAT)
                level = builder.fadd(builder.fmul(level, gain), shift)
                level = builder.select(builder.fcmp_ordered(">", level, floor), level, floor)
                level = builder.select(builder.fcmp_ordered("<", level, ceiling), level, ceiling)
                totals[i] = builder.add(builder.shl(totals[i], step), builder.fptosi(level, _HALF32))
        _accumulate(builder, totals, out, coefficient)
        return context.get_dummy_value()

    arguments = (cycles, dac, cells, planes, weights, words, scale, offset, top, out, coefficient)
    return types.void(*arguments), generate


@intrinsic
def store_sums(typingctx, cycles, dac, cells, planes, weights, words, out):
    """out[cycle][lane] = S as 16 bits, for those who want the partial sums themselves."""
    shape = (cycles.count, dac.count, cells.count)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        planes, weights, words, out = arguments[3:]
        place = builder.bitcast(out, _LANE16.as_pointer())
        for cycle, partial in enumerate(_partial_sums(builder, shape, planes, weights, words)):
            builder.store(partial, builder.gep(place, [ir.Constant(_I32, cycle)]), align=2)
        return context.get_dummy_value()

    return types.void(cycles, dac, cells, planes, weights, words, out), generate


@intrinsic
def sum_cells(typingctx, bits, table, index, quads, words, out):
    """out[bit][lane] = sum over quads of rows of table[quad][index[quad][bit]][lane].

    `len(bits)` is the number of input bits. `table` points at [quad, 16, lane] float32; `index` at the first of `words`
    64-bit words a quad, which hold a byte for each input bit, the lowest first.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, table, index, quads, words, out = arguments
        row = ir.VectorType(ir.FloatType(), SUM_LANES)
        sums = [cgutils.alloca_once(builder, row) for _ in range(bits.count)]
        for place in sums:
            builder.store(ir.Constant(row, None), place)
        table, out = (builder.bitcast(pointer, row.as_pointer()) for pointer in (table, out))
        index = builder.bitcast(index, ir.IntType(8).as_pointer())
        stride = builder.mul(words, ir.Constant(words.type, 8))
        with cgutils.for_range(builder, quads) as loop:
            own = builder.gep(table, [builder.mul(loop.index, ir.Constant(loop.index.type, 16))])
            patterns = builder.gep(index, [builder.mul(loop.index, stride)])
            for bit, place in enumerate(sums):
                pattern = builder.load(builder.gep(patterns, [ir.Constant(_I32, bit)]))
                cells = builder.load(builder.gep(own, [builder.zext(pattern, ir.IntType(64))]), align=4)
                builder.store(builder.fadd(builder.load(place), cells), place)
        for bit, place in enumerate(sums):
            builder.store(builder.load(place), builder.gep(out, [ir.Constant(_I32, bit)]), align=4)
        return context.get_dummy_value()

    return types.void(bits, table, index, quads, words, out), generate


@intrinsic
def convert_sums(typingctx, sums, cycles, dac, scale, shift, top, coefficient, result):
    """result[lane] += coefficient[lane] sum_t 2^(t dac) code_t, code = trunc(clip(S scale + shift, 0, top)) in float32.

    `sums` points at [cycle, lane] float32, `scale` and `shift` at a float32 a lane, `coefficient` and `result` at a
    64-bit integer a lane.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        sums, cycles, dac, scale, shift, top, coefficient, result = arguments
        row, whole = ir.VectorType(ir.FloatType(), SUM_LANES), ir.VectorType(ir.IntType(64), SUM_LANES)
        sums, scale, shift = (builder.bitcast(pointer, row.as_pointer()) for pointer in (sums, scale, shift))
        coefficient, result = (
            builder.bitcast(pointer, whole.as_pointer()) for pointer in (coefficient, result)
        )
        gain, offset = (builder.load(pointer, align=4) for pointer in (scale, shift))
        floor, ceiling = ir.Constant(row, [0.0] * SUM_LANES), _splat(builder, top, row)
        total = cgutils.alloca_once(builder, whole)
        builder.store(ir.Constant(whole, None), total)
        with cgutils.for_range(builder, cycles) as loop:
            level = builder.load(builder.gep(sums, [loop.index]), align=4)
            level = builder.fadd(builder.fmul(level, gain), offset)
            level = builder.select(builder.fcmp_ordered(">", level, floor), level, floor)
            level = builder.select(builder.fcmp_ordered("<", level, ceiling), level, ceiling)
            code = builder.sext(builder.fptosi(level, ir.VectorType(_I32, SUM_LANES)), whole)
            code = builder.shl(code, _splat(builder, builder.mul(loop.index, dac), whole))
            builder.store(builder.add(builder.load(total), code), total)
        product = builder.mul(builder.load(coefficient, align=8), builder.load(total))
        builder.store(builder.add(builder.load(result, align=8), product), result, align=8)
        return context.get_dummy_value()

    return types.void(sums, cycles, dac, scale, shift, top, coefficient, result), generate


@intrinsic
def transpose_bits(typingctx, cycles, dac, gathered, rows, out, words):
    """Bit p of up to 16 rows of 32 lanes becomes one 16-bit word a lane: out[p * words][lane], bit i for row i."""
    planes = cycles.count * dac.count

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, _, gathered, rows, out, words = arguments
        one, zero = ir.Constant(_LANE16, [1] * LANES), ir.Constant(_LANE16, None)
        gathered, out = (builder.bitcast(p, _LANE16.as_pointer()) for p in (gathered, out))
        results = [cgutils.alloca_once_value(builder, zero) for _ in range(planes)]
        for result in results:
            builder.store(zero, result)
        with cgutils.for_range(builder, rows) as loop:
            values = builder.load(builder.gep(gathered, [loop.index]), align=2)
            place = _splat(builder, builder.trunc(loop.index, _I16), _LANE16)
            for plane, result in enumerate(results):
                bit = builder.and_(builder.lshr(values, ir.Constant(_LANE16, [plane] * LANES)), one)
                builder.store(builder.or_(builder.load(result), builder.shl(bit, place)), result)
        for plane, result in enumerate(results):
            at = builder.mul(words, ir.Constant(words.type, plane))
            builder.store(builder.load(result), builder.gep(out, [at]), align=2)
        return context.get_dummy_value()

    return types.void(cycles, dac, gathered, rows, out, words), generate


def _partial_sums(
    builder: ir.IRBuilder, shape: tuple[int, int, int], planes: Any, weights: Any, words: Any
) -> list[Any]:
    """S of every input cycle: sum over input and cell bits of 2^(a + b) popcount(x_a AND g_b), word by word."""
    cycles, dac, cells = shape
    counts = [[cgutils.alloca_once(builder, _LANE16) for _ in range(cells)] for _ in range(cycles * dac)]
    for row in counts:
        for count in row:
            builder.store(ir.Constant(_LANE16, None), count)
    popcount = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_LANE16, [_LANE16]), f"llvm.ctpop.v{LANES}i16"
    )
    planes = builder.bitcast(planes, _LANE16.as_pointer())
    weights = builder.bitcast(weights, _I32.as_pointer())
    with cgutils.for_range(builder, words) as loop:
        cell_bits = []
        for b in range(cells):
            at = builder.add(builder.mul(words, ir.Constant(words.type, b)), loop.index)
            twice = _splat(builder, builder.load(builder.gep(weights, [at])), ir.VectorType(_I32, LANES // 2))
            cell_bits.append(builder.bitcast(twice, _LANE16))
        for plane, row in enumerate(counts):
            at = builder.add(builder.mul(words, ir.Constant(words.type, plane)), loop.index)
            inputs = builder.load(builder.gep(planes, [at]), align=2)
            for count, bits in zip(row, cell_bits, strict=True):
                ones = builder.call(popcount, [builder.and_(inputs, bits)])
                builder.store(builder.add(builder.load(count), ones), count)
    sums = []
    for t in range(cycles):
        partial = ir.Constant(_LANE16, None)
        for a in range(dac):
            for b, count in enumerate(counts[t * dac + a]):
                weighted = builder.shl(builder.load(count), ir.Constant(_LANE16, [a + b] * LANES))
                partial = builder.add(partial, weighted)
        sums.append(partial)
    return sums


def _accumulate(builder: ir.IRBuilder, halves: list[Any], out: Any, coefficient: Any) -> None:
    out = builder.bitcast(out, _HALF32.as_pointer())
    factor = _splat(builder, builder.trunc(coefficient, _I32), _HALF32)
    for i, half in enumerate(halves):
        place = builder.gep(out, [ir.Constant(_I32, i)])
        before = builder.load(place, align=4)
        builder.store(builder.add(before, builder.mul(half, factor)), place, align=4)


def _halves(builder: ir.IRBuilder, vector: Any) -> list[Any]:
    middle = LANES // 2
    undefined = ir.Constant(vector.type, ir.Undefined)
    mask = ir.VectorType(_I32, middle)
    return [
        builder.shuffle_vector(vector, undefined, ir.Constant(mask, list(range(start, start + middle))))
        for start in (0, middle)
    ]


def _splat(builder: ir.IRBuilder, value: Any, vector: ir.VectorType) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    )


@intrinsic
def address(typingctx, array, index):
    """Pointer to an element of a flat, contiguous array."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return types.CPointer(array.dtype)(array, index), generate
