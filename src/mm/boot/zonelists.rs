//! In which order each node's requests try the zones: near nodes first, in each the high zones first.
//!
//! Gorman 2.6. Kernel: `mm/page_alloc.c` (`build_all_zonelists`, `find_next_best_node`).
//! Fidelity: faithful — order by distance, the penalty for nodes with CPUs, turns among equals.

use crate::mm::addr::ZoneId;
use crate::mm::config::ZoneType;
use crate::mm::machine::Machine;
use crate::mm::mmzone::Zonelist;

impl Machine {
    /// For every node: all nodes by distance, in each the high zones first (`build_all_zonelists`).
    pub(super) fn build_all_zonelists(&mut self) {
        let mut load = vec![0u64; self.nodes.len()];
        for local in 0..self.nodes.len() {
            let order = self.fallback_order(local, &mut load);
            for kind in ZoneType::ALL {
                let (list, here) = (self.zonelist_of(&order, kind), self.zonelist_of(&[local], kind));
                self.nodes[local].zonelists[kind as usize] = list;
                self.nodes[local].this_node[kind as usize] = here;
            }
        }
    }

    /// `Fallback order for Node 0: 0 1`, for every node of a NUMA kernel.
    pub(super) fn print_fallback_orders(&mut self) {
        let nodes = if self.config.arch.has_numa() { self.nodes.len() } else { 0 };
        let mut load = vec![0u64; nodes];
        for local in 0..nodes {
            let order = self.fallback_order(local, &mut load);
            let nids: Vec<String> = order.iter().map(|n| self.nodes[*n].nid.to_string()).collect();
            self.printk(format!("Fallback order for Node {}: {} ", self.nodes[local].nid, nids.join(" ")));
        }
    }

    /// The zones of these nodes up to a kind, high zones of each node first.
    fn zonelist_of(&self, nodes: &[usize], kind: ZoneType) -> Zonelist {
        let all = nodes.iter().flat_map(|n| self.nodes[*n].zones.iter().rev());
        let usable = |z: &&ZoneId| {
            let zone = &self.zones[z.index()];
            zone.kind <= kind && zone.managed_pages > 0
        };
        let zones: Box<[ZoneId]> = all.filter(usable).copied().collect();
        let nofragment = zones.first().is_some_and(|preferred| self.zone_has_dma32_below(*preferred));
        Zonelist::new(zones, nofragment)
    }

    /// True for a Normal zone with a populated DMA32 zone below it: `alloc_flags_nofragment` cares for no other.
    fn zone_has_dma32_below(&self, preferred: ZoneId) -> bool {
        self.config.arch.has_dma32()
            && self.zones[preferred.index()].kind == ZoneType::Normal
            && (self.nodes.len() == 1 || self.zones[preferred.index() - 1].is_populated())
    }

    /// Nodes from near to far; nodes at the same distance take turns (`find_next_best_node`).
    fn fallback_order(&self, local: usize, load: &mut [u64]) -> Vec<usize> {
        /// The kernel prefers memory of nodes without CPUs: theirs is less busy.
        const PENALTY_FOR_NODE_WITH_CPUS: u64 = 1;
        const MAX_NUMNODES: u64 = 1024;
        let distance = |a: usize, b: usize| self.nodes[a].distances.get(b).copied().map_or(20, u64::from);
        let mut order = vec![local];
        let mut previous = local;
        loop {
            let score = |n: usize| {
                let penalty = if self.nodes[n].cpus.is_empty() { 0 } else { PENALTY_FOR_NODE_WITH_CPUS };
                (distance(local, n) + u64::from(n < local) + penalty) * MAX_NUMNODES + load[n]
            };
            let left =
                (0..self.nodes.len()).filter(|n| !order.contains(n) && self.node_has_memory(&self.nodes[*n]));
            let Some(best) = left.min_by_key(|n| score(*n)) else { return order };
            if distance(local, best) != distance(local, previous) {
                load[best] += 1;
            }
            order.push(best);
            previous = best;
        }
    }
}
