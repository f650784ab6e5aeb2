use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::{Answer, Failure, Response};

/// How far behind the place of reading a read may come and still count as
/// reading on: the kernel sends reads side by side.
const SLACK: u64 = 512 * 1024;

/// The window reading begins with.
const FIRST_WINDOW: u64 = 256 * 1024;

/// A read to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub length: u32,
    /// Which one it is: an answer to an earlier read of the same bytes may be
    /// older than a write between the two.
    id: u64,
}

/// Bytes of an answer.
#[derive(Debug, Clone)]
pub struct Piece {
    answer: Arc<Answer>,
    range: Range<usize>,
}

impl Piece {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self.answer.response() {
            Response::Data(data) => data.get(self.range.clone()).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// A read that can be answered: the pieces in their order, fewer bytes than
/// asked at the end of the file, or why not.
#[derive(Debug)]
pub struct Ready<W> {
    /// Who asked.
    pub waiter: W,
    /// What is there.
    pub outcome: Result<Vec<Piece>, Failure>,
}

#[derive(Debug)]
enum State {
    Asked,
    Here(Arc<Answer>, usize),
    End,
    Failed(Failure),
}

#[derive(Debug)]
struct Chunk {
    offset: u64,
    length: u64,
    id: u64,
    state: State,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

#[derive(Debug)]
struct Waiter<W> {
    offset: u64,
    length: u64,
    who: W,
}

/// The reads of one open file. Reading on in one direction is seen, and what
/// will be wanted next is asked for ahead: more and more of it as long as the
/// reader still has to wait, up to a limit that the round trip sets.
#[derive(Debug)]
pub struct ReadAhead<W> {
    chunks: VecDeque<Chunk>,
    waiters: Vec<Waiter<W>>,
    fetches: VecDeque<Fetch>,
    ready: VecDeque<Ready<W>>,
    next: u64,
    window: u64,
    run: u32,
    asked: u64,
    /// Reads from before the file was changed, with what was asked for them:
    /// nobody else may have it.
    old: Vec<Old<W>>,
}

#[derive(Debug)]
struct Old<W> {
    chunks: VecDeque<Chunk>,
    waiters: Vec<Waiter<W>>,
}

impl<W> Default for ReadAhead<W> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            waiters: Vec::new(),
            fetches: VecDeque::new(),
            ready: VecDeque::new(),
            next: 0,
            window: FIRST_WINDOW,
            run: 0,
            asked: 0,
            old: Vec::new(),
        }
    }
}

impl<W> ReadAhead<W> {
    /// Asks for the beginning of a file before anybody reads it.
    pub fn prefetch(&mut self, chunk: u32, size: u64) {
        self.run = 1;
        self.ask(0, u64::from(chunk).min(size), chunk);
    }

    /// Takes a read. `chunk`: bytes of one request; `limit`: most bytes asked
    /// for ahead; `size`: bytes of the file as far as is known.
    pub fn read(&mut self, offset: u64, length: u32, chunk: u32, limit: u64, size: u64, who: W) {
        let length = u64::from(length);
        let end = offset.saturating_add(length);
        let reads_on =
            offset <= self.next.saturating_add(SLACK) && end.saturating_add(SLACK) >= self.next;
        if reads_on {
            self.run = self.run.saturating_add(1);
            self.next = self.next.max(end);
        } else {
            self.run = 0;
            self.next = end;
            self.window = FIRST_WINDOW;
            let waited = |chunk: &Chunk| {
                self.waiters
                    .iter()
                    .any(|w| w.offset < chunk.end() && chunk.offset < w.offset + w.length)
            };
            self.chunks.retain(waited);
        }
        self.waiters.push(Waiter {
            offset,
            length,
            who,
        });
        let waits = !self.is_here(offset, end.min(size));
        self.ask(offset, end.min(size.max(offset.saturating_add(1))), chunk);
        if self.run > 0 {
            if waits {
                self.window = self.window.saturating_mul(2).min(limit.max(FIRST_WINDOW));
            }
            let ahead = end.saturating_add(self.window).min(size);
            if ahead > end {
                self.ask(end, ahead, chunk);
            }
            let behind = self.next.saturating_sub(SLACK);
            self.forget_before(behind);
        }
        self.serve();
    }

    fn is_here(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        for chunk in &self.chunks {
            if chunk.offset <= at && at < chunk.end() && !matches!(chunk.state, State::Asked) {
                at = chunk.end();
            }
        }
        at >= to
    }

    /// Asks for what is not asked for yet between two places.
    fn ask(&mut self, from: u64, to: u64, chunk: u32) {
        let mut at = from;
        let mut index = 0;
        while at < to {
            match self.chunks.get(index) {
                Some(have) if have.end() <= at => index += 1,
                Some(have) if have.offset <= at => {
                    at = have.end();
                    index += 1;
                }
                have => {
                    let until = have.map_or(to, |have| have.offset.min(to));
                    let length = until.saturating_sub(at).min(u64::from(chunk));
                    let Ok(short) = u32::try_from(length) else {
                        return;
                    };
                    self.asked += 1;
                    self.fetches.push_back(Fetch {
                        offset: at,
                        length: short,
                        id: self.asked,
                    });
                    let asked = Chunk {
                        offset: at,
                        length,
                        id: self.asked,
                        state: State::Asked,
                    };
                    self.chunks.insert(index, asked);
                    at = at.saturating_add(length);
                    index += 1;
                }
            }
        }
    }

    fn forget_before(&mut self, place: u64) {
        let waiters = &self.waiters;
        self.chunks.retain(|chunk| {
            chunk.end() > place
                || matches!(chunk.state, State::Asked)
                || waiters.iter().any(|w| w.offset < chunk.end())
        });
    }

    /// A read to be sent; call until `None`.
    pub fn poll_fetch(&mut self) -> Option<Fetch> {
        self.fetches.pop_front()
    }

    /// The answer to a read that was sent.
    pub fn filled(&mut self, fetch: Fetch, outcome: Result<Answer, Failure>, size: u64) {
        let is_it =
            |chunk: &&mut Chunk| chunk.id == fetch.id && matches!(chunk.state, State::Asked);
        let mut found = None;
        if let Some(chunk) = self.chunks.iter_mut().find(is_it) {
            found = Some((None, chunk));
        } else {
            for (at, old) in self.old.iter_mut().enumerate() {
                if let Some(chunk) = old.chunks.iter_mut().find(is_it) {
                    found = Some((Some(at), chunk));
                    break;
                }
            }
        }
        let Some((whose, chunk)) = found else {
            return;
        };
        let mut more = None;
        match outcome {
            Err(failure) if failure.status == crate::Status::EndOfFile => {
                chunk.state = State::End;
            }
            Err(failure) => chunk.state = State::Failed(failure),
            Ok(answer) => {
                let got = match answer.response() {
                    Response::Data(data) => data.len(),
                    _ => 0,
                };
                let got64 = u64::try_from(got).unwrap_or(u64::MAX);
                let end = chunk.offset.saturating_add(got64);
                if got == 0 {
                    chunk.state = State::End;
                } else {
                    if got64 < chunk.length && end < size {
                        // The server gave less than there is: ask for the rest.
                        let left = chunk.length - got64;
                        self.asked += 1;
                        let id = self.asked;
                        more = u32::try_from(left).ok().map(|length| Fetch {
                            offset: end,
                            length,
                            id,
                        });
                        chunk.length = got64;
                    }
                    let got = got.min(usize::try_from(chunk.length).unwrap_or(usize::MAX));
                    chunk.state = State::Here(Arc::new(answer), got);
                }
            }
        }
        if let Some(fetch) = more {
            let asked = Chunk {
                offset: fetch.offset,
                length: u64::from(fetch.length),
                id: fetch.id,
                state: State::Asked,
            };
            let chunks = match whose.and_then(|at| self.old.get_mut(at)) {
                Some(old) => &mut old.chunks,
                None => &mut self.chunks,
            };
            let at = chunks.partition_point(|one| one.offset < fetch.offset);
            chunks.insert(at, asked);
            self.fetches.push_back(fetch);
        }
        self.serve();
    }

    /// What can be answered; call until `None` after `read` and `filled`.
    pub fn poll_ready(&mut self) -> Option<Ready<W>> {
        self.ready.pop_front()
    }

    fn serve(&mut self) {
        serve(&self.chunks, &mut self.waiters, &mut self.ready);
        for old in &mut self.old {
            serve(&old.chunks, &mut old.waiters, &mut self.ready);
        }
        self.old.retain(|old| !old.waiters.is_empty());
        if self.run == 0 {
            let waiters = &self.waiters;
            self.chunks.retain(|chunk| {
                matches!(chunk.state, State::Asked)
                    || waiters
                        .iter()
                        .any(|w| w.offset < chunk.end() && chunk.offset < w.offset + w.length)
            });
        }
        // A failure is told once: whoever reads again asks again.
        let waits = !self.waiters.is_empty();
        self.chunks
            .retain(|chunk| waits || !matches!(chunk.state, State::Failed(_) | State::End));
    }

    /// Forgets what was read: the file has changed. Reads that wait are
    /// answered with what was asked for them; those that come are not.
    pub fn forget(&mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        let waiters = std::mem::take(&mut self.waiters);
        if !waiters.is_empty() {
            self.old.push(Old { chunks, waiters });
        }
    }

    /// The readers that still wait, when there is nothing to wait for.
    pub fn abort(&mut self) -> Vec<W> {
        self.chunks.clear();
        self.fetches.clear();
        let old = self.old.drain(..).flat_map(|old| old.waiters);
        old.chain(self.waiters.drain(..))
            .map(|waiter| waiter.who)
            .collect()
    }
}

/// Answers the waiters that can be answered from chunks.
fn serve<W>(
    chunks: &VecDeque<Chunk>,
    waiters: &mut Vec<Waiter<W>>,
    ready: &mut VecDeque<Ready<W>>,
) {
    let mut at = 0;
    while let Some(waiter) = waiters.get(at) {
        match gather(chunks, waiter.offset, waiter.length) {
            None => at += 1,
            Some(outcome) => {
                let waiter = waiters.remove(at).who;
                ready.push_back(Ready { waiter, outcome });
            }
        }
    }
}

/// The pieces of a read, where all of it is here or it ends.
fn gather(
    chunks: &VecDeque<Chunk>,
    offset: u64,
    length: u64,
) -> Option<Result<Vec<Piece>, Failure>> {
    let end = offset.saturating_add(length);
    let mut at = offset;
    let mut pieces = Vec::new();
    for chunk in chunks.iter().skip_while(|chunk| chunk.end() <= offset) {
        if at >= end || chunk.offset > at {
            break;
        }
        match &chunk.state {
            State::Asked => return None,
            State::End => return Some(Ok(pieces)),
            State::Failed(failure) if pieces.is_empty() => return Some(Err(*failure)),
            State::Failed(_) => return Some(Ok(pieces)),
            State::Here(answer, got) => {
                let from = usize::try_from(at - chunk.offset).ok()?;
                let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
                let to = from.saturating_add(wanted).min(*got);
                if from < to {
                    pieces.push(Piece {
                        answer: Arc::clone(answer),
                        range: from..to,
                    });
                    at = at.saturating_add(u64::try_from(to - from).unwrap_or(u64::MAX));
                }
                if u64::try_from(*got).is_ok_and(|got| got < chunk.length) {
                    // Shorter than asked: the file's end.
                    return Some(Ok(pieces));
                }
            }
        }
    }
    // What lies past the last known byte was not asked for.
    let asked = chunks
        .iter()
        .any(|chunk| chunk.offset <= at && at < chunk.end());
    (at >= end || !asked).then_some(Ok(pieces))
}
