//! Just enough of WebAssembly's binary format to write modules that no tool would write.

/// A module of these sections.
pub(super) fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".as_slice(), &sections.concat()].concat()
}

/// One section.
pub(super) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb(content.len()), content.to_vec()].concat()
}

/// A section that is a vector of equal or different items.
pub(super) fn items(id: u8, items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut content = leb(items.len());
    items.for_each(|item| content.extend(item));
    section(id, &content)
}

/// `count` types `() -> ()`.
pub(super) fn types(count: usize) -> Vec<u8> {
    items(1, (0..count).map(|_| vec![0x60, 0, 0]))
}

/// `count` functions of type 0.
pub(super) fn functions(count: usize) -> Vec<u8> {
    items(3, (0..count).map(|_| vec![0]))
}

/// Function 0 as `_start`.
pub(super) fn start() -> Vec<u8> {
    items(
        7,
        [[vec![6], b"_start".to_vec(), vec![0, 0]].concat()].into_iter(),
    )
}

/// Bodies of code.
pub(super) fn code(bodies: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    items(10, bodies.map(|body| [leb(body.len()), body].concat()))
}

/// A body with `locals` locals of type i32 and these instructions.
pub(super) fn body(locals: usize, instructions: &[u8]) -> Vec<u8> {
    let locals = if locals == 0 {
        vec![0]
    } else {
        [vec![1], leb(locals), vec![0x7f]].concat()
    };
    [locals.as_slice(), instructions, &[0x0b]].concat()
}

/// A module of one function `_start`.
pub(super) fn command(body: Vec<u8>) -> Vec<u8> {
    module(&[types(1), functions(1), start(), code([body].into_iter())])
}

/// `local = local + 1`.
pub(super) fn increment(local: usize) -> Vec<u8> {
    [
        vec![0x20],
        leb(local),
        vec![0x41, 1, 0x6a, 0x21],
        leb(local),
    ]
    .concat()
}

/// An unsigned number in LEB128.
pub(super) fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Many loops one after the other over many locals: a phi for each local in each loop.
pub(super) fn loops_in_a_row(loops: usize, locals: usize) -> Vec<u8> {
    let mut instructions = Vec::new();
    for number in 0..loops {
        instructions.extend([0x03, 0x40]);
        instructions.extend(increment(number % locals));
        instructions.extend([vec![0x20], leb(number % locals), vec![0x0d, 0, 0x0b]].concat());
    }
    command(body(locals, &instructions))
}
