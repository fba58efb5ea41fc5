//! A writer of small GGUF files for tests, valid or not: it checks nothing.
#![allow(dead_code)] // Each test binary uses its own part.

/// A file under construction; `finish` gives its bytes.
pub struct GgufWriter {
    pub version: u32,
    pub alignment: usize,
    pub data: Vec<u8>,
    num_entries: u64,
    entries: Vec<u8>,
    num_tensors: u64,
    infos: Vec<u8>,
}

impl GgufWriter {
    pub fn new() -> Self {
        let empty = Vec::new;
        Self {
            version: 3,
            alignment: 32,
            data: empty(),
            num_entries: 0,
            entries: empty(),
            num_tensors: 0,
            infos: empty(),
        }
    }

    /// A metadata entry of value type `ty` with the encoded `value`.
    pub fn entry(&mut self, key: &str, ty: u32, value: &[u8]) -> &mut Self {
        self.num_entries += 1;
        self.entries.extend(string(key));
        self.entries.extend(ty.to_le_bytes());
        self.entries.extend(value);
        self
    }

    /// A tensor whose data follows that of the last one.
    pub fn tensor(&mut self, name: &str, dims: &[u64], ty: u32, data: &[u8]) -> &mut Self {
        self.data
            .resize(self.data.len().next_multiple_of(self.alignment), 0);
        self.tensor_at(name, dims, ty, self.data.len() as u64);
        self.data.extend(data);
        self
    }

    /// A tensor entry with an offset of its own and no data.
    pub fn tensor_at(&mut self, name: &str, dims: &[u64], ty: u32, offset: u64) -> &mut Self {
        self.num_tensors += 1;
        self.infos.extend(string(name));
        self.infos.extend((dims.len() as u32).to_le_bytes());
        self.infos
            .extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        self.infos.extend(ty.to_le_bytes());
        self.infos.extend(offset.to_le_bytes());
        self
    }

    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.num_tensors.to_le_bytes());
        bytes.extend(self.num_entries.to_le_bytes());
        bytes.extend(&self.entries);
        bytes.extend(&self.infos);
        if !self.data.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
            bytes.extend(&self.data);
        }
        bytes
    }
}

/// An encoded string.
pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// An encoded array of `len` elements of value type `ty`.
pub fn array(ty: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    [&ty.to_le_bytes()[..], &len.to_le_bytes(), elements].concat()
}

/// A valid file with every value type, a nested array, and tensors of several types.
pub fn sample() -> GgufWriter {
    let mut file = GgufWriter::new();
    let tokens: Vec<u8> = ["<s>", "</s>", "Ġthe", ""]
        .iter()
        .flat_map(|token| string(token))
        .collect();
    let nested = [array(4, 1, &7u32.to_le_bytes()), array(8, 1, &string("x"))].concat();
    file.entry("general.architecture", 8, &string("llama"))
        .entry("a.u8", 0, &[200])
        .entry("a.i8", 1, &(-3i8).to_le_bytes())
        .entry("a.u16", 2, &60_000u16.to_le_bytes())
        .entry("a.i16", 3, &(-300i16).to_le_bytes())
        .entry("a.u32", 4, &4_000_000_000u32.to_le_bytes())
        .entry("a.i32", 5, &(-70_000i32).to_le_bytes())
        .entry("a.f32", 6, &1e-5f32.to_le_bytes())
        .entry("a.bool", 7, &[1])
        .entry("a.u64", 10, &(1u64 << 40).to_le_bytes())
        .entry("a.i64", 11, &(-1i64 << 40).to_le_bytes())
        .entry("a.f64", 12, &0.5f64.to_le_bytes())
        .entry("tokenizer.ggml.tokens", 9, &array(8, 4, &tokens))
        .entry(
            "tokenizer.ggml.token_type",
            9,
            &array(5, 4, &[3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]),
        )
        .entry(
            "tokenizer.ggml.scores",
            9,
            &array(6, 2, &[0, 0, 0x80, 0xBF, 0, 0, 0, 0x40]),
        )
        .entry("a.nested", 9, &array(9, 2, &nested))
        .tensor(
            "norm.weight",
            &[4],
            0,
            &[0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 0, 191, 0, 0, 0, 0],
        )
        .tensor("linear.weight", &[64, 3], 3, &[0x3C; 3 * 2 * 20])
        .tensor("linear.q8", &[32, 2], 8, &[1; 2 * 34]);
    file
}
