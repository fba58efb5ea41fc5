//! The loop's body: what the teacher says of some sequences, and a step of the student towards it.

use candle_core::{Result, Tensor, bail};

use super::loss::{Divergence, divergence};
use super::optimiser::AdamW;
use super::student::{Student, rows_of};
use super::{Data, HeldOut, Schedule};
use crate::model::Decoder;
use crate::model::one_sequence::plan;

/// The model that is learnt from.
pub struct Teacher(Decoder);

impl Teacher {
    /// A decoder on the CPU that was made for steps and samples of a sequence.
    pub fn new(decoder: Decoder) -> Self {
        Self(decoder)
    }

    /// The logits after each token of a sequence, `[S, V]`, in a buffer that the next call overwrites.
    pub(super) fn logits(&self, tokens: &[u32]) -> Result<Tensor> {
        let rows = 0..tokens.len() as u32;
        let plan = plan(tokens, 0, rows, self.0.limits.block_size);
        match self.0.forward(&plan, None)? {
            Some(logits) => logits.cpu("teacher").cloned(),
            None => bail!("a step with samples gives logits: this is a bug"),
        }
    }
}

/// What training depends on, beside the teacher and the text.
#[derive(Clone, Copy, Debug)]
pub struct TrainSettings {
    /// Sequences a step.
    pub batch_size: usize,
    /// How fast it learns, and for how long.
    pub schedule: Schedule,
}

/// Sets how many threads compute students in this process, instead of one a core. Tensors are made by the thread that trains and not by
/// those, so that what it gives back is there for what it makes next.
///
/// # Errors
/// If any was computed before, or threads cannot be started.
pub fn use_threads(num_threads: usize) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads);
    pool.build_global().map_err(candle_core::Error::wrap)
}

/// A student on its way.
pub struct Trainer {
    /// What is trained.
    pub student: Student,
    teacher: Teacher,
    data: Data,
    settings: TrainSettings,
    pub(super) optimiser: AdamW,
    /// Steps done.
    pub(super) num_done: usize,
}

/// Tokens that are differentiated at once: more take more memory, fewer more time for the weights' gradients.
const TOKENS_AT_ONCE: usize = 512;

impl Trainer {
    /// Starts from the student as it is.
    pub fn new(student: Student, teacher: Teacher, data: Data, settings: TrainSettings) -> Self {
        Self {
            optimiser: AdamW::new(&student.params),
            student,
            teacher,
            data,
            settings,
            num_done: 0,
        }
    }

    /// Steps done, and steps in all.
    pub fn progress(&self) -> (usize, usize) {
        (self.num_done, self.settings.schedule.num_steps)
    }

    /// One step; gives the mean KL divergence of its tokens before it, in nats.
    ///
    /// # Errors
    /// If student or teacher cannot be computed, or the divergence is no number: the learning rate is too high.
    pub fn step(&mut self) -> Result<f64> {
        let i = self.num_done;
        let batch = self.data.batch(i, self.settings.batch_size);
        let num_tokens = batch.iter().map(Vec::len).sum::<usize>();
        let scale = 1.0 / num_tokens as f32;
        let rate = self.settings.schedule.rate(i);
        let at_once = (TOKENS_AT_ONCE / self.student.sequence_length).max(1);
        let (mut told, mut sums) = (Divergence::default(), None);
        for sequences in batch.chunks(at_once) {
            let (own, gradients) = gradients(&self.student, &self.teacher, sequences, scale)?;
            told = told + own;
            sums = Some(match sums {
                None => gradients,
                Some(sums) => added(sums, gradients)?,
            });
        }
        let kl = told.kl / num_tokens as f64;
        if !kl.is_finite() {
            bail!(
                "the loss of step {} is {kl}: take a lower --learning-rate",
                i + 1
            );
        }
        let params = &self.student.params;
        self.optimiser
            .update(params, &sums.unwrap_or_default(), rate, i)?;
        self.num_done += 1;
        Ok(kl)
    }

    /// How close the student is to the teacher on these sequences.
    ///
    /// # Errors
    /// If either cannot be computed.
    pub fn measure(
        &self,
        sequences: &[Vec<u32>],
        progress: impl FnMut(usize, usize),
    ) -> Result<HeldOut> {
        HeldOut::measure(&self.student, &self.teacher, sequences, progress)
    }

    /// Ends the training.
    pub fn into_student(self) -> Student {
        self.student
    }
}

/// The divergence over some sequences, and the gradients of `scale` times it, one a parameter.
///
/// The student is differentiated from what the LM head is multiplied with: the gradient of that is computed sequence by sequence, so that
/// there are never more logits than one sequence's, and stands for the rest in a sum of products with it.
fn gradients(
    student: &Student,
    teacher: &Teacher,
    sequences: &[Vec<u32>],
    scale: f32,
) -> Result<(Divergence, Vec<Tensor>)> {
    let hidden = student.hidden(&sequences.concat())?;
    let fixed = hidden.detach();
    let (mut told, mut gradient, mut start) = (Divergence::default(), Vec::new(), 0);
    for tokens in sequences {
        let logits = student.logits(&rows_of(&fixed, start, tokens.len())?)?;
        told = told + divergence(&logits, &teacher.logits(tokens)?, scale)?;
        gradient.push(logits.matmul(student.head())?);
        start += tokens.len();
    }
    let surrogate = (hidden * Tensor::cat(&gradient, 0)?)?.sum_all()?;
    let mut store = surrogate.backward()?;
    let gradients = student.params.iter().map(|(name, param)| {
        let missing = || candle_core::Error::Msg(format!("{name} has no gradient: this is a bug"));
        // What it was computed of, which is all of the graph, goes.
        let gradient = store.remove(param).map(|gradient| gradient.detach());
        gradient.ok_or_else(missing)
    });
    Ok((told, gradients.collect::<Result<_>>()?))
}

fn added(sums: Vec<Tensor>, more: Vec<Tensor>) -> Result<Vec<Tensor>> {
    sums.into_iter().zip(more).map(|(a, b)| a + b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::Cpu;
    use crate::model::distill::student::tests::{decoder, random_model, tiny_config, tokens};
    use crate::model::distill::{Split, load_state, save_state};

    const LEN: usize = 16;

    fn trainer(kept: &[usize], num_threads: usize) -> Trainer {
        let cpu = Cpu::new(num_threads).unwrap();
        let config = tiny_config();
        let model = random_model(&config, &cpu);
        let student = Student::new(&model, &config, kept, LEN, &cpu).unwrap();
        let teacher = Teacher::new(decoder(&model, &config, LEN, &cpu));
        let split = Split::new(&tokens(20 * LEN), LEN, None).unwrap();
        let settings = TrainSettings {
            batch_size: 3,
            schedule: Schedule {
                learning_rate: 3e-3,
                num_steps: 12,
            },
        };
        let data = Data::new(split.train, 1);
        Trainer::new(student, teacher, data, settings)
    }

    fn bits(trainer: &Trainer) -> Vec<u32> {
        let params = trainer.student.params.iter();
        let values =
            params.flat_map(|(_, param)| param.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        values.map(f32::to_bits).collect()
    }

    fn run(trainer: &mut Trainer, num_steps: usize) -> Vec<f64> {
        (0..num_steps).map(|_| trainer.step().unwrap()).collect()
    }

    #[test]
    fn gradients_are_those_of_differences_of_the_divergence() {
        let mut trainer = trainer(&[0, 3], 1);
        let sequences = trainer.data.batch(0, 2);
        let (student, teacher) = (&trainer.student, &trainer.teacher);
        let (_, own) = gradients(student, teacher, &sequences, 1.0).unwrap();
        let names: Vec<String> = student.params.iter().map(|(n, _)| n.to_owned()).collect();
        for (name, gradient) in names.iter().zip(&own) {
            let param = student.params.iter().find(|(n, _)| n == name).unwrap().1;
            let before = param.copy().unwrap();
            // Along the gradient's signs, where the difference is largest.
            let ones = gradient.ones_like().unwrap();
            let signs = gradient.ge(0.0).unwrap();
            let direction = signs.where_cond(&ones, &ones.neg().unwrap()).unwrap();
            let want = (gradient * &direction).unwrap().sum_all().unwrap();
            let want = f64::from(want.to_scalar::<f32>().unwrap());
            let step = 2e-4;
            let at = |sign: f64| {
                let moved = (&before + (&direction * (sign * step)).unwrap()).unwrap();
                student.params.set(name, &moved).unwrap();
                gradients(student, teacher, &sequences, 1.0).unwrap().0.kl
            };
            let got = (at(1.0) - at(-1.0)) / (2.0 * step);
            student.params.set(name, &before).unwrap();
            assert!(
                (got - want).abs() < 0.01 * want.abs() + 0.1,
                "{name}: {got} {want}"
            );
        }
    }

    #[test]
    fn training_brings_the_student_closer() {
        let mut trainer = trainer(&[0, 2, 3], 2);
        let losses = run(&mut trainer, 12);
        assert!(losses[11] < 0.6 * losses[0], "{losses:?}");
        assert_eq!(trainer.progress(), (12, 12));
    }

    #[test]
    fn a_student_of_all_layers_has_nothing_to_learn() {
        let mut trainer = trainer(&[0, 1, 2, 3], 1);
        let sequences = trainer.data.batch(0, 4);
        let told = trainer.measure(&sequences, |_, _| ()).unwrap();
        assert!(told.kl < 1e-5 && told.agreement > 0.98, "{told:?}");
        assert_eq!(told.num_tokens, 4 * LEN);
    }

    #[test]
    fn what_was_interrupted_ends_with_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let mut whole = trainer(&[0, 3], 1);
        let losses = run(&mut whole, 12);
        let mut first = trainer(&[0, 3], 1);
        run(&mut first, 5);
        save_state(&first, &path).unwrap();
        // Lost.
        run(&mut first, 2);
        let mut second = trainer(&[0, 3], 2);
        load_state(&mut second, &path).unwrap();
        assert_eq!(second.progress(), (5, 12));
        assert_eq!(run(&mut second, 7), losses[5..]);
        assert!(bits(&second) == bits(&whole));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_state_that_is_damaged_or_of_another_student_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        save_state(&trainer(&[0, 3], 1), &path).unwrap();
        let error = load_state(&mut trainer(&[0, 2, 3], 1), &path).unwrap_err();
        assert!(error.to_string().contains("state.safetensors"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(load_state(&mut trainer(&[0, 3], 1), &path).is_err());
    }
}
