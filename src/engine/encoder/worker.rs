//! The encoder's thread: jobs take turns, text by text, until a step is full.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Encoded, Encoder, Load, Place};
use crate::engine::ExecutorError;

/// A request's texts.
#[derive(Debug)]
pub(super) struct Job {
    texts: Vec<Vec<u32>>,
    /// As far as they are computed.
    vectors: Vec<Option<Vec<f32>>>,
    num_open: usize,
    /// The first text that no step has had yet.
    next: usize,
    submitted: Instant,
    queue: Duration,
    reply: oneshot::Sender<Result<Encoded, ExecutorError>>,
    place: Place,
}

impl Job {
    pub fn new(
        texts: Vec<Vec<u32>>,
        place: Place,
        reply: oneshot::Sender<Result<Encoded, ExecutorError>>,
    ) -> Self {
        Self {
            vectors: vec![None; texts.len()],
            num_open: texts.len(),
            texts,
            next: 0,
            submitted: Instant::now(),
            queue: Duration::ZERO,
            reply,
            place,
        }
    }
}

/// What the thread owns.
pub(super) struct Worker {
    encoder: Box<dyn Encoder>,
    load: Arc<Load>,
    jobs: HashMap<u64, Job>,
    /// Jobs with texts that no step has had yet, next first.
    turns: VecDeque<u64>,
    next_id: u64,
}

impl Worker {
    pub fn new(encoder: Box<dyn Encoder>, load: Arc<Load>) -> Self {
        Self {
            encoder,
            load,
            jobs: HashMap::new(),
            turns: VecDeque::new(),
            next_id: 0,
        }
    }

    /// Until the last handle is gone.
    pub fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        loop {
            if self.jobs.is_empty() {
                match inbox.recv() {
                    Ok(job) => self.open(job),
                    Err(_) => return,
                }
            }
            inbox.try_iter().for_each(|job| self.open(job));
            self.jobs.retain(|_, job| !job.reply.is_closed());
            let batch = self.next_batch();
            if !batch.is_empty() {
                self.step(&batch);
            }
        }
    }

    fn open(&mut self, job: Job) {
        if job.texts.is_empty() {
            return end(job, encoded);
        }
        self.turns.push_back(self.next_id);
        self.jobs.insert(self.next_id, job);
        self.next_id += 1;
    }

    /// The texts of the next step: of which job, and which.
    fn next_batch(&mut self) -> Vec<(u64, usize)> {
        let max_tokens = self.encoder.max_batch_tokens();
        let (mut batch, mut num_tokens) = (Vec::new(), 0);
        while let Some(id) = self.turns.pop_front() {
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            num_tokens += job.texts[job.next].len();
            if num_tokens > max_tokens && !batch.is_empty() {
                self.turns.push_front(id);
                break;
            }
            if job.next == 0 {
                job.queue = job.submitted.elapsed();
            }
            batch.push((id, job.next));
            job.next += 1;
            if job.next < job.texts.len() {
                self.turns.push_back(id);
            }
        }
        batch
    }

    fn step(&mut self, batch: &[(u64, usize)]) {
        let started = Instant::now();
        let texts: Vec<&[u32]> = (batch.iter())
            .map(|(id, i)| &*self.jobs[id].texts[*i])
            .collect();
        let num_tokens: usize = texts.iter().map(|text| text.len()).sum();
        let encoder = &mut self.encoder;
        // What a step leaves behind is overwritten by the next one, so a panic cannot be seen later.
        let encoded = catch_unwind(AssertUnwindSafe(|| encoder.encode(&texts)));
        let encoded = encoded.unwrap_or_else(|_| Err(ExecutorError("it panicked".into())));
        let encoded = encoded.and_then(|vectors| match vectors.len() == batch.len() {
            true => Ok(vectors),
            false => Err(ExecutorError(format!(
                "{} vectors for {} texts",
                vectors.len(),
                batch.len()
            ))),
        });
        match encoded {
            Ok(vectors) => {
                let rate = num_tokens as f64 / started.elapsed().as_secs_f64().max(1e-6);
                self.load
                    .tokens_a_second
                    .store(rate as u64, Ordering::Relaxed);
                for ((id, i), vector) in batch.iter().zip(vectors) {
                    self.fill(*id, *i, vector);
                }
            }
            Err(error) => {
                for (id, _) in batch {
                    if let Some(job) = self.jobs.remove(id) {
                        end(job, |_, _| Err(ExecutorError(error.0.clone())));
                    }
                }
            }
        }
    }

    fn fill(&mut self, id: u64, i: usize, vector: Vec<f32>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.vectors[i] = Some(vector);
        job.place.give_back(job.texts[i].len());
        job.num_open -= 1;
        if job.num_open == 0
            && let Some(job) = self.jobs.remove(&id)
        {
            end(job, encoded);
        }
    }
}

fn encoded(vectors: Vec<Option<Vec<f32>>>, queue: Duration) -> Result<Encoded, ExecutorError> {
    let vectors = vectors.into_iter().flatten().collect();
    Ok(Encoded { vectors, queue })
}

/// Answers a request.
fn end(
    job: Job,
    answer: impl FnOnce(Vec<Option<Vec<f32>>>, Duration) -> Result<Encoded, ExecutorError>,
) {
    let Job {
        vectors,
        queue,
        reply,
        place,
        ..
    } = job;
    // Before the answer, so that who has it finds the room that it leaves.
    drop(place);
    // Who has left need not be told.
    let _ = reply.send(answer(vectors, queue));
}

#[cfg(test)]
mod tests {
    use super::super::{EncodeError, EncoderHandle};
    use super::*;

    /// Tells the texts of each step, which waits until it may go on.
    struct Watched {
        steps: mpsc::Sender<Vec<Vec<u32>>>,
        gate: mpsc::Receiver<()>,
    }

    impl Encoder for Watched {
        fn max_batch_tokens(&self) -> usize {
            4
        }

        fn encode(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, ExecutorError> {
            let texts: Vec<Vec<u32>> = texts.iter().map(|text| text.to_vec()).collect();
            let vectors = texts.iter().map(|text| vec![text[0] as f32]).collect();
            self.steps.send(texts).unwrap();
            self.gate.recv().unwrap();
            Ok(vectors)
        }
    }

    fn watched() -> (
        EncoderHandle,
        mpsc::Receiver<Vec<Vec<u32>>>,
        mpsc::Sender<()>,
    ) {
        let (steps, seen) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let handle = EncoderHandle::spawn(Box::new(Watched { steps, gate })).unwrap();
        (handle, seen, open)
    }

    fn texts(first: u32, count: u32) -> Vec<Vec<u32>> {
        (first..first + count).map(|id| vec![id, 0]).collect()
    }

    /// Submits them and gives what waits for the answer.
    fn submit(
        handle: &EncoderHandle,
        texts: Vec<Vec<u32>>,
    ) -> tokio::task::JoinHandle<Result<Encoded, EncodeError>> {
        let handle = handle.clone();
        tokio::spawn(async move { handle.encode(texts).await })
    }

    #[tokio::test]
    async fn a_short_request_shares_the_next_step_with_a_long_one() {
        let (handle, seen, open) = watched();
        let long = submit(&handle, texts(10, 5));
        tokio::task::yield_now().await;
        assert_eq!(seen.recv().unwrap(), texts(10, 2));
        let short = submit(&handle, texts(70, 1));
        tokio::task::yield_now().await;
        open.send(()).unwrap();
        // Its turn is behind that of the long one's next text.
        assert_eq!(seen.recv().unwrap(), [texts(12, 1), texts(70, 1)].concat());
        open.send(()).unwrap();
        assert_eq!(short.await.unwrap().unwrap().vectors, [[70.0]]);
        assert_eq!(seen.recv().unwrap(), texts(13, 2));
        open.send(()).unwrap();
        let vectors = long.await.unwrap().unwrap().vectors;
        assert_eq!(vectors, [[10.0], [11.0], [12.0], [13.0], [14.0]]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_computed() {
        let (handle, seen, open) = watched();
        let leaves = submit(&handle, texts(10, 9));
        tokio::task::yield_now().await;
        seen.recv().unwrap();
        leaves.abort();
        assert!(leaves.await.unwrap_err().is_cancelled());
        let stays = submit(&handle, texts(70, 1));
        tokio::task::yield_now().await;
        open.send(()).unwrap();
        assert_eq!(seen.recv().unwrap(), texts(70, 1));
        open.send(()).unwrap();
        assert_eq!(stays.await.unwrap().unwrap().vectors, [[70.0]]);
        assert_eq!(handle.load.num_tokens.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn no_texts_have_no_vectors() {
        let (handle, ..) = watched();
        assert!(handle.encode(Vec::new()).await.unwrap().vectors.is_empty());
    }
}
