---------------------------- MODULE RaftElection ----------------------------
(***************************************************************************)
(* Raft's leader election, without options, as chapter 3 of Ongaro's       *)
(* dissertation describes it; section numbers are his.  It was written     *)
(* from his rules, to be compared with what elector's explorer finds when  *)
(* it runs elector's own code: both must count the same distinct states.   *)
(*                                                                         *)
(* Replication is left out, so all logs are equal and an AppendEntries is  *)
(* a heartbeat.                                                            *)
(*                                                                         *)
(* The network is the set of all messages ever sent: what was sent may     *)
(* arrive late, again, in any order, or never.  A timer that is armed may  *)
(* go off at any time.  A node may crash at any time, and between any two  *)
(* things that it does in one step; it restarts with its term and vote     *)
(* (3.8), which are durable before anything that depends on them is sent.  *)
(* A candidacy beyond the last term is not begun.                          *)
(***************************************************************************)
EXTENDS Integers, FiniteSets

CONSTANTS N,         \* how many nodes; they are 1..N
          Terms,     \* the last term
          Restarts   \* how many crashes there may be, in all

Node == 1..N
Nobody == 0

VARIABLES term,      \* the latest term seen, durable
          vote,      \* for whom in it, durable
          role,      \* "follower", "candidate" or "leader"
          leader,    \* who leads the term, as far as this node knows
          votes,     \* from whom a candidate has votes
          election,  \* whether the election timer is armed
          beat,      \* whether the heartbeat timer is armed
          led,       \* which terms the node has led; history, not state
          sent,      \* the network
          crashes    \* how many there were

vars == <<term, vote, role, leader, votes, election, beat, led, sent, crashes>>
local == <<term, vote, role, leader, votes, election, beat, led>>

Majority(S) == 2 * Cardinality(S) > N

Msg(kind, from, to, t, ok) == [kind |-> kind, from |-> from, to |-> to, term |-> t, ok |-> ok]

\* A node tells its peers in the order of their numbers; these are the first k of them.
Peers(i) == Node \ {i}
\* (A constant, so that TLC computes it once.)
First == [i \in Node |-> [k \in 0..(N - 1) |->
            {p \in Peers(i) : Cardinality({q \in Peers(i) : q <= p}) <= k}]]
ToFirst(kind, i, k, t) == {Msg(kind, i, p, t, TRUE) : p \in First[i][k]}

Init ==
    /\ term = [i \in Node |-> 0]
    /\ vote = [i \in Node |-> Nobody]
    /\ role = [i \in Node |-> "follower"]
    /\ leader = [i \in Node |-> Nobody]
    /\ votes = [i \in Node |-> {}]
    /\ election = [i \in Node |-> TRUE]
    /\ beat = [i \in Node |-> FALSE]
    /\ led = [i \in Node |-> {}]
    /\ sent = {}
    /\ crashes = 0

-----------------------------------------------------------------------------
(* How a step ends: as meant, or by a crash.                               *)

\* The node's part of the state, all of it.
Become(i, t, v, r, l, vs, el, be) ==
    /\ term' = [term EXCEPT ![i] = t]
    /\ vote' = [vote EXCEPT ![i] = v]
    /\ role' = [role EXCEPT ![i] = r]
    /\ leader' = [leader EXCEPT ![i] = l]
    /\ votes' = [votes EXCEPT ![i] = vs]
    /\ election' = [election EXCEPT ![i] = el]
    /\ beat' = [beat EXCEPT ![i] = be]

\* A crash when this ballot was durable and these messages were out, and the restart.
Fall(i, t, v, out) ==
    /\ crashes < Restarts
    /\ crashes' = crashes + 1
    /\ Become(i, t, v, "follower", Nobody, {}, TRUE, FALSE)
    /\ sent' = sent \cup out

Go(out) ==
    /\ sent' = sent \cup out
    /\ UNCHANGED crashes

Crash(i) ==
    /\ Fall(i, term[i], vote[i], {})
    /\ UNCHANGED led

-----------------------------------------------------------------------------
(* Timers.                                                                 *)

\* 3.4: a follower or candidate that hears nothing stands for the next term.
Stand(i) ==
    /\ election[i]
    /\ role[i] # "leader"
    /\ term[i] < Terms
    /\ UNCHANGED led
    /\ LET t == term[i] + 1 IN
       \/ /\ Become(i, t, i, "candidate", Nobody, {i}, TRUE, beat[i])
          /\ Go(ToFirst("RequestVote", i, N - 1, t))
       \/ \E k \in 0..(N - 2) : Fall(i, t, i, ToFirst("RequestVote", i, k, t))

\* A leader has no use for it.
ElectionInVain(i) ==
    /\ election[i]
    /\ role[i] = "leader"
    /\ election' = [election EXCEPT ![i] = FALSE]
    /\ UNCHANGED <<term, vote, role, leader, votes, beat, led, sent, crashes>>

\* 3.4: heartbeats keep the others from standing.
Beat(i) ==
    /\ beat[i]
    /\ role[i] = "leader"
    /\ UNCHANGED led
    /\ \/ /\ UNCHANGED <<term, vote, role, leader, votes, election, beat>>
          /\ Go(ToFirst("Heartbeat", i, N - 1, term[i]))
       \/ \E k \in 1..(N - 2) :
             Fall(i, term[i], vote[i], ToFirst("Heartbeat", i, k, term[i]))

BeatInVain(i) ==
    /\ beat[i]
    /\ role[i] # "leader"
    /\ beat' = [beat EXCEPT ![i] = FALSE]
    /\ UNCHANGED <<term, vote, role, leader, votes, election, led, sent, crashes>>

-----------------------------------------------------------------------------
(* Messages.  3.3: a request of an older term is answered with ours; a     *)
(* higher term is adopted, which ends a candidacy or an office.            *)

Tell(kind, m, t, ok) == {Msg(kind, m.to, m.from, t, ok)}

Outdated(i, m) ==
    /\ m.term < term[i]
    /\ UNCHANGED local
    /\ CASE m.kind = "RequestVote" -> Go(Tell("Vote", m, term[i], FALSE))
         [] m.kind = "Heartbeat" -> Go(Tell("HeartbeatReply", m, term[i], TRUE))
         [] OTHER -> Go({})

\* 3.4: one vote in a term, first come, first served, and durable before it is sent.
Asked(i, m) ==
    /\ m.kind = "RequestVote"
    /\ m.term >= term[i]
    /\ UNCHANGED led
    /\ LET new == m.term > term[i]
           free == new \/ vote[i] \in {Nobody, m.from}
       IN
       IF free
       THEN \/ /\ IF new
                  THEN Become(i, m.term, m.from, "follower", Nobody, {}, TRUE, beat[i])
                  ELSE Become(i, m.term, m.from, role[i], leader[i], votes[i], TRUE, beat[i])
               /\ Go(Tell("Vote", m, m.term, TRUE))
            \/ Fall(i, m.term, m.from, {})
       ELSE /\ UNCHANGED <<term, vote, role, leader, votes, election, beat>>
            /\ Go(Tell("Vote", m, m.term, FALSE))

\* 3.4: a majority of votes makes a leader, who says so at once.
Won(i, m) ==
    /\ m.kind = "Vote"
    /\ m.ok
    /\ m.term = term[i]
    /\ role[i] = "candidate"
    /\ LET all == votes[i] \cup {m.from} IN
       IF Majority(all)
       THEN /\ led' = [led EXCEPT ![i] = led[i] \cup {m.term}]
            /\ \/ /\ Become(i, m.term, vote[i], "leader", i, {}, election[i], TRUE)
                  /\ Go(ToFirst("Heartbeat", i, N - 1, m.term))
               \/ \E k \in 0..(N - 2) :
                     Fall(i, m.term, vote[i], ToFirst("Heartbeat", i, k, m.term))
       ELSE /\ Become(i, m.term, vote[i], role[i], leader[i], all, election[i], beat[i])
            /\ Go({})
            /\ UNCHANGED led

\* 3.4: word from the leader of this term, or of a new one.
Led(i, m) ==
    /\ m.kind = "Heartbeat"
    /\ m.term >= term[i]
    /\ UNCHANGED led
    /\ LET v == IF m.term > term[i] THEN Nobody ELSE vote[i] IN
       \/ /\ Become(i, m.term, v, "follower", m.from, {}, TRUE, beat[i])
          /\ Go(Tell("HeartbeatReply", m, m.term, TRUE))
       \/ Fall(i, m.term, v, {})

\* 3.3: any answer of a higher term.
Overtaken(i, m) ==
    /\ m.kind \in {"Vote", "HeartbeatReply"}
    /\ m.term > term[i]
    /\ UNCHANGED led
    /\ \/ /\ Become(i, m.term, Nobody, "follower", Nobody, {},
                    election[i] \/ role[i] = "leader", beat[i])
          /\ Go({})
       \/ Fall(i, m.term, Nobody, {})

Receive(i, m) ==
    Outdated(i, m) \/ Asked(i, m) \/ Won(i, m) \/ Led(i, m) \/ Overtaken(i, m)

-----------------------------------------------------------------------------
Next ==
    \/ \E i \in Node : Stand(i) \/ ElectionInVain(i) \/ Beat(i) \/ BeatInVain(i) \/ Crash(i)
    \/ \E m \in sent : Receive(m.to, m)

Spec == Init /\ [][Next]_vars

\* At most one node leads a term, restarts included.
TermUnique == \A i, j \in Node : i # j => led[i] \cap led[j] = {}

=============================================================================
