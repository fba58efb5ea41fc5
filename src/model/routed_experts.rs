//! The decoder's feed-forward with routed experts.

use candle_core::{Result, bail};

use super::ExpertsConfig;
use super::adapters::AdapterRows;
use super::decoder::{Decoder, parts, rows_for};
use super::weights::{Experts, Linear, Mlp};
use crate::ops::{
    LinearGroup, Routing, Slots, Tensor, combine_experts, gated_activation, gather_rows,
    matmul_groups,
};

impl Decoder {
    /// Writes to delta what the experts of each row of x give. `padded` tells rows that nobody reads.
    pub(super) fn routed_experts(
        &self,
        router: &Linear,
        experts: &Experts,
        config: &ExpertsConfig,
        x: &Tensor,
        delta: &Tensor,
        padded: Option<&Slots<'_>>,
    ) -> Result<()> {
        let (cpu, num_rows) = (&self.cpu, x.dims()?.0);
        let Some(buffers) = &self.buffers.experts else {
            bail!("the buffers are of a model without experts");
        };
        let logits = rows_for(x, &buffers.logits)?;
        self.linear(&logits, x, router, &AdapterRows::default())?;
        let pairs = |buffer: &Tensor| buffer.narrow(0, num_rows * config.top_k);
        let (gathered, gate_up) = (pairs(&buffers.gathered)?, pairs(&buffers.gate_up)?);
        let (activated, outputs) = (pairs(&buffers.activated)?, pairs(&buffers.outputs)?);
        let experts = match (experts, &buffers.routing) {
            (Experts::Each(experts), None) => experts,
            (Experts::Stacked { gate_up: w, down }, Some(routing)) => {
                let routed = routing.route(&logits, padded, config.is_normalised)?;
                routed.gather(&gathered, x)?;
                routed.matmul(&gate_up, &gathered, w)?;
                gated_activation(&activated, &gate_up, self.config.glu, cpu)?;
                routed.matmul(&outputs, &activated, down)?;
                return routed.combine(delta, &outputs);
            }
            _ => bail!("experts and buffers are not of one device"),
        };
        let routing = Routing::new(&logits, config.top_k, config.is_normalised)?;
        let groups = |linear: fn(&Mlp) -> &Linear| {
            let group = |(expert, rows)| LinearGroup {
                rows,
                parts: parts(linear(&experts[expert])),
            };
            routing.experts().map(group).collect::<Vec<_>>()
        };
        let record = |linear: fn(&Mlp) -> &Linear, x: &Tensor| {
            let mut pairs = routing.experts();
            pairs.try_for_each(|(expert, rows)| {
                self.record(linear(&experts[expert]), expert, x, rows)
            })
        };
        gather_rows(&gathered, x, routing.rows())?;
        record(|mlp| &mlp.gate_up, &gathered)?;
        matmul_groups(&gate_up, &gathered, &groups(|mlp| &mlp.gate_up), cpu)?;
        gated_activation(&activated, &gate_up, self.config.glu, cpu)?;
        record(|mlp| &mlp.down, &activated)?;
        matmul_groups(&outputs, &activated, &groups(|mlp| &mlp.down), cpu)?;
        combine_experts(delta, &outputs, &routing, cpu)
    }
}
