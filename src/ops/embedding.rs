//! Token embedding.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, bail};

use super::PackedWeight;
use super::Tensor;
use super::numbers::Numbers;
use super::tensor::CudaTensor;
use super::view::{expect_dims, slice_mut};
use crate::backend::cpu::Cpu;

/// `out[i]` = `scale` times row `ids[i]` of `table`, dequantised: out `[T, H]` f32, T ids, table `[V, H]`.
///
/// # Errors
/// If out's shape is not `[ids.len(), table.in_features()]` or an id is not below `table.out_features()`.
pub fn embedding<'a>(
    out: &Tensor,
    ids: impl Into<Numbers<'a>>,
    table: &PackedWeight,
    scale: f32,
    cpu: &Cpu,
) -> Result<()> {
    let numbers = ids.into();
    let ids = numbers.host;
    expect_dims("embedding: out", out, &[ids.len(), table.in_features()])?;
    let num_rows = table.out_features();
    if let Some((i, id)) = ids
        .iter()
        .enumerate()
        .find(|&(_, &id)| id as usize >= num_rows)
    {
        bail!("embedding: ids[{i}] is {id}, but the table has {num_rows} rows");
    }
    if let Tensor::Cuda(out) = out {
        return cuda_fwd(out, &numbers, table, scale);
    }
    out.inplace_op1(&Embedding {
        ids,
        table,
        scale,
        cpu,
    })
}

/// On a card: `kernels/embedding.cu`.
fn cuda_fwd(out: &CudaTensor, ids: &Numbers<'_>, table: &PackedWeight, scale: f32) -> Result<()> {
    out.expect_f32("embedding: out")?;
    let what = "embedding: table";
    let card = table.on_card(what)?.tiles(what)?;
    let width = table.in_features();
    if !width.is_multiple_of(8) {
        bail!("embedding: on a card rows must have a multiple of 8 columns, not {width}");
    }
    let name = format!("embedding_tiles_{}", card.format.name);
    let launch = (out.card()).kernel("embedding", name, [ids.host.len(), 1, 1], 256);
    let launch = launch.slice(&out.slice).slice(ids.slice("embedding: ids")?);
    let launch = launch.slice(&card.codes).slice(&card.scales);
    Ok(launch.int(width).float(scale).run()?)
}

struct Embedding<'a> {
    ids: &'a [u32],
    table: &'a PackedWeight,
    scale: f32,
    cpu: &'a Cpu,
}

impl InplaceOp1 for Embedding<'_> {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, out: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let out = slice_mut::<f32>("embedding: out", out, layout)?;
        let (width, read_row) = (
            self.table.in_features(),
            self.table.row_reader("embedding: table")?,
        );
        let rows_per_task = self.cpu.rows_per_task(self.ids.len(), width);
        self.cpu
            .for_each_chunk(out, rows_per_task * width, &|i, out| {
                for (out, &id) in out
                    .chunks_exact_mut(width)
                    .zip(&self.ids[i * rows_per_task..])
                {
                    read_row(id as usize, out);
                    if self.scale != 1.0 {
                        out.iter_mut().for_each(|x| *x *= self.scale);
                    }
                }
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, cpus, view};
    use super::*;

    #[test]
    fn rows_are_those_of_the_table_on_any_number_of_threads() {
        let (num_rows, width) = (50, 96);
        let table = Random::new(3).floats(num_rows * width, 1.0);
        let ids: Vec<u32> = (0..200).map(|i| i * 7 % 50).collect();
        for cpu in cpus() {
            let packed = PackedWeight::from_f32(num_rows, width, &table, &cpu).unwrap();
            let (buffer, out) = view(&vec![0.0; 200 * width], (200, width));
            embedding(&out, &ids, &packed, 2.0, &cpu).unwrap();
            for (row, &id) in out.to_rows().unwrap().iter().zip(&ids) {
                let want = table[id as usize * width..][..width]
                    .iter()
                    .map(|x| 2.0 * x);
                assert_eq!(row[..], want.collect::<Vec<_>>());
            }
            buffer.assert_margins_untouched();
        }
    }

    #[test]
    fn an_id_out_of_range_is_an_error_naming_it() {
        let cpu = Cpu::new(1).unwrap();
        let packed = PackedWeight::from_f32(3, 2, &[0.0; 6], &cpu).unwrap();
        let (_, out) = view(&[0.0; 4], (2, 2));
        let error = embedding(&out, &[1, 3], &packed, 1.0, &cpu)
            .unwrap_err()
            .to_string();
        assert!(error.contains("ids[1] is 3"), "{error}");
    }
}
