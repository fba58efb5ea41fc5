//! The tensor table, and views of the tensors' data.

use std::fmt;
use std::ops::Range;

use super::dequant::dequantise;
use super::error::{Fault, GgufError, shown};
use super::ggml_type::GgmlType;
use super::reader::Reader;

/// The shortest entry: length of an empty name, number of dimensions, one dimension, type, offset.
pub(super) const MIN_INFO_BYTES: usize = 8 + 4 + 8 + 4 + 8;
const MAX_DIMS: usize = 4;

/// A tensor of a file, its data borrowed.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    /// The tensor's name, e.g. `blk.0.attn_q.weight`.
    pub name: &'a str,
    /// How `data` is encoded; never [`GgmlType::Unsupported`].
    pub ty: GgmlType,
    /// 1 to 4 dimensions in GGUF's order: `dims[0]` is the one whose elements are adjacent. A linear layer's weight is
    /// `[in_features, out_features]`.
    pub dims: &'a [usize],
    /// The encoded elements, row after row: `rows() * cols() / block_size * block_bytes` bytes.
    pub data: &'a [u8],
}

impl TensorView<'_> {
    /// Elements a row, that is `dims[0]`; of a linear layer's weight the input features.
    pub fn cols(&self) -> usize {
        self.dims[0]
    }

    /// The number of rows: the product of all dimensions but the first; of a linear layer's weight the output features.
    pub fn rows(&self) -> usize {
        self.dims[1..].iter().product()
    }

    /// Decodes all elements into `out`, `[rows, cols]`.
    ///
    /// # Errors
    /// `out` does not hold `rows() * cols()` elements.
    pub fn dequantise_into(&self, out: &mut [f32]) -> Result<(), GgufError> {
        dequantise(self.ty, self.data, out).map_err(|source| GgufError::Dequantise {
            name: shown(self.name),
            source,
        })
    }
}

/// Everything but the data.
impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorView")
            .field("name", &self.name)
            .field("ty", &self.ty)
            .field("dims", &self.dims)
            .finish_non_exhaustive()
    }
}

/// What is known of a tensor without its data.
#[derive(Debug)]
pub(super) struct TensorInfo {
    name: Box<str>,
    ty: GgmlType,
    num_dims: usize,
    dims: [usize; MAX_DIMS],
    /// Where the data lies in the file; empty for an unsupported type, whose size is not known.
    data: Range<usize>,
}

impl TensorInfo {
    /// Reads one entry; `data` is still relative to the data section.
    fn read(reader: &mut Reader<'_>, idx: usize, alignment: usize) -> Result<Self, GgufError> {
        let name = reader.string().map_err(|fault| GgufError::Field {
            field: format!("name of tensor {idx}"),
            fault,
        })?;
        Self::read_rest(reader, name, alignment).map_err(GgufError::tensor(name))
    }

    fn read_rest(reader: &mut Reader<'_>, name: &str, alignment: usize) -> Result<Self, Fault> {
        let count = reader.u32()?;
        let num_dims = usize::try_from(count)
            .ok()
            .filter(|n| (1..=MAX_DIMS).contains(n))
            .ok_or(Fault::NumDims(count))?;
        let mut raw = [1u64; MAX_DIMS];
        for dim in &mut raw[..num_dims] {
            *dim = reader.u64()?;
        }
        let raw = &raw[..num_dims];
        if let Some(idx) = raw.iter().position(|&dim| dim == 0) {
            return Err(Fault::ZeroDim(idx));
        }
        let overflow = || Fault::DimsOverflow(raw.to_vec());
        let mut dims = [1usize; MAX_DIMS];
        let mut num_elements = 1usize;
        for (dim, &raw) in dims.iter_mut().zip(raw) {
            *dim = usize::try_from(raw).map_err(|_| overflow())?;
            num_elements = num_elements.checked_mul(*dim).ok_or_else(overflow)?;
        }

        let ty = GgmlType::from_id(reader.u32()?);
        let offset = reader.u64()?;
        if !offset.is_multiple_of(alignment as u64) {
            return Err(Fault::Misaligned { offset, alignment });
        }
        let size = match ty.layout() {
            None => 0,
            Some(layout) if !dims[0].is_multiple_of(layout.block_size) => {
                return Err(Fault::PartialBlock {
                    cols: dims[0],
                    ty,
                    block_size: layout.block_size,
                });
            }
            Some(layout) => (num_elements / layout.block_size)
                .checked_mul(layout.block_bytes)
                .ok_or_else(overflow)?,
        };
        let outside = || Fault::Outside {
            offset,
            size,
            file_bytes: reader.file_bytes(),
        };
        let start = usize::try_from(offset).map_err(|_| outside())?;
        let end = start.checked_add(size).ok_or_else(outside)?;
        Ok(Self {
            name: name.into(),
            ty,
            num_dims,
            dims,
            data: start..end,
        })
    }

    /// Turns `data` into a range of the file, if it lies inside of it.
    fn place(&mut self, data_start: usize, file_bytes: usize) -> Result<(), GgufError> {
        let place = |offset: usize| {
            offset
                .checked_add(data_start)
                .filter(|&at| at <= file_bytes)
        };
        match (place(self.data.start), place(self.data.end)) {
            (Some(start), Some(end)) => self.data = start..end,
            _ => {
                let (offset, size) = (self.data.start as u64, self.data.len());
                return Err(GgufError::tensor(&self.name)(Fault::Outside {
                    offset,
                    size,
                    file_bytes,
                }));
            }
        }
        Ok(())
    }

    pub(super) fn view<'a>(&'a self, bytes: &'a [u8]) -> Result<TensorView<'a>, GgufError> {
        if let GgmlType::Unsupported(_) = self.ty {
            return Err(GgufError::UnsupportedType {
                name: shown(&self.name),
                ty: self.ty,
            });
        }
        Ok(TensorView {
            name: &self.name,
            ty: self.ty,
            dims: &self.dims[..self.num_dims],
            data: &bytes[self.data.clone()],
        })
    }
}

/// All tensors of a file.
#[derive(Debug)]
pub(super) struct TensorTable {
    /// Sorted by place in the file.
    infos: Vec<TensorInfo>,
    /// Indices into `infos`, sorted by name.
    by_name: Vec<usize>,
}

impl TensorTable {
    /// Reads and validates `count` entries and places them in the data section, which follows them.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        count: usize,
        alignment: usize,
    ) -> Result<Self, GgufError> {
        let mut infos = Vec::with_capacity(count);
        for idx in 0..count {
            infos.push(TensorInfo::read(reader, idx, alignment)?);
        }
        // At most the file's size plus 2^31: on a 32-bit machine that may be past the end of memory, and then past the
        // end of the file too.
        let data_start = reader
            .at()
            .checked_next_multiple_of(alignment)
            .unwrap_or(usize::MAX);
        for info in &mut infos {
            info.place(data_start, reader.file_bytes())?;
        }
        infos.sort_unstable_by_key(|info| (info.data.start, info.data.end));
        if let Some(pair) = infos
            .windows(2)
            .find(|pair| pair[1].data.start < pair[0].data.end)
        {
            return Err(GgufError::tensor(&pair[1].name)(Fault::Overlap(shown(
                &pair[0].name,
            ))));
        }

        let mut by_name: Vec<usize> = (0..infos.len()).collect();
        by_name.sort_unstable_by(|&a, &b| infos[a].name.cmp(&infos[b].name));
        match by_name
            .windows(2)
            .find(|pair| infos[pair[0]].name == infos[pair[1]].name)
        {
            Some(pair) => Err(GgufError::tensor(&infos[pair[0]].name)(Fault::Duplicate)),
            None => Ok(Self { infos, by_name }),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&TensorInfo> {
        let found = self
            .by_name
            .binary_search_by(|&idx| (*self.infos[idx].name).cmp(name));
        found.ok().map(|at| &self.infos[self.by_name[at]])
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.infos.iter()
    }
}
