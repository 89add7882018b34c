//! Tasks by their pid.
//!
//! Kernel: `kernel/pid.c` (`find_task_by_pid_ns`), `lib/idr.c`.
//! Fidelity: ours — a vector where the kernel has a radix tree: pids are small numbers, handed out in order.

use crate::mm::task::{Pid, Task};
use std::ops::Index;

/// Tasks by pid; walks go from the lowest up.
#[derive(Clone, Debug)]
pub struct PidTable<T = Task> {
    /// For each pid one more than the place in `tasks`; 0 for nobody.
    places: Vec<u32>,
    tasks: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for PidTable<T> {
    fn default() -> PidTable<T> {
        PidTable { places: Vec::new(), tasks: Vec::new(), free: Vec::new() }
    }
}

impl<T> PidTable<T> {
    #[inline]
    fn place(&self, pid: Pid) -> Option<usize> {
        let place = *self.places.get(pid as usize)?;
        (place as usize).checked_sub(1)
    }

    /// The task with this pid.
    #[inline]
    pub fn get(&self, pid: &Pid) -> Option<&T> {
        self.tasks[self.place(*pid)?].as_ref()
    }

    /// The task with this pid, to be changed.
    #[inline]
    pub fn get_mut(&mut self, pid: &Pid) -> Option<&mut T> {
        let place = self.place(*pid)?;
        self.tasks[place].as_mut()
    }

    /// True when there is one.
    pub fn contains_key(&self, pid: &Pid) -> bool {
        self.place(*pid).is_some()
    }

    /// Puts a task in; the one that had the pid until now.
    pub fn insert(&mut self, pid: Pid, task: T) -> Option<T> {
        if let Some(place) = self.place(pid) {
            return self.tasks[place].replace(task);
        }
        if self.places.len() <= pid as usize {
            self.places.resize(pid as usize + 1, 0);
        }
        let place = self.free.pop().unwrap_or(self.tasks.len() as u32);
        match self.tasks.get_mut(place as usize) {
            Some(empty) => *empty = Some(task),
            None => self.tasks.push(Some(task)),
        }
        self.places[pid as usize] = place + 1;
        None
    }

    /// Takes a task out.
    pub fn remove(&mut self, pid: &Pid) -> Option<T> {
        let place = self.place(*pid)?;
        self.places[*pid as usize] = 0;
        self.free.push(place as u32);
        self.tasks[place].take()
    }

    /// All tasks with their pids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Pid, &T)> {
        let taken = self.places.iter().enumerate().filter(|(_, place)| **place != 0);
        taken.filter_map(|(pid, place)| Some((pid as Pid, self.tasks[*place as usize - 1].as_ref()?)))
    }

    /// All pids.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = Pid> {
        self.iter().map(|(pid, _)| pid)
    }

    /// All tasks.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.iter().map(|(_, task)| task)
    }

    /// All tasks, to be changed, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.tasks.iter_mut().flatten()
    }
}

/// A pid that the simulator itself keeps is that of a task: this panics if it is not, for that is our bug.
impl<T> Index<&Pid> for PidTable<T> {
    type Output = T;

    #[inline]
    fn index(&self, pid: &Pid) -> &T {
        match self.get(pid) {
            Some(task) => task,
            None => panic!("no task has pid {pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_finds_its_task_and_walks_go_upwards() {
        let mut table = PidTable::default();
        for pid in [7, 300, 12, 1, 32_767] {
            assert_eq!(table.insert(pid, pid * 2), None);
        }
        assert!(table.keys().eq([1, 7, 12, 300, 32_767]));
        assert_eq!(table.remove(&12), Some(24));
        assert!(!table.contains_key(&12) && table.get(&12).is_none() && table.remove(&12).is_none());
        // The place is used again, the pid is another's.
        assert_eq!(table.insert(8, 16), None);
        assert!(table.iter().all(|(pid, task)| pid * 2 == *task));
        assert!(table.values().rev().eq(&[65_534, 600, 16, 14, 2]));
        assert_eq!(table.insert(8, 17), Some(16));
        assert_eq!(table[&8], 17);
    }
}
