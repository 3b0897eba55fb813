#!/usr/bin/env python3
"""What a silent network does: real daemons on loopback under default limits.

    benches/quiet.py PROGRAM NODES BOOTSTRAP_NODES MINUTES FOLDER

starts NODES daemons, of which the first BOOTSTRAP_NODES are bootstrap nodes that
all others enter through, and prints a line a minute: connections kept and active,
connections made since the start, resident memory and CPU. It ends by itself, and so
do the daemons. FOLDER is emptied first.
"""
import subprocess, os, sys, time, socket, json, urllib.request, re, shutil
prog, n, nb, minutes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
base = sys.argv[5]; shutil.rmtree(base, ignore_errors=True); os.makedirs(base)
def free():
    s=socket.socket(); s.bind(("127.0.0.1",0)); p=s.getsockname()[1]; s.close(); return p
nodes=[]
def start(i, boot):
    d=f"{base}/{i}"; os.makedirs(d); m=free(); l=free()
    env={"PATH":os.environ["PATH"],"P2P_DATA_DIR":d+"/data","P2P_METRICS_PORT":str(m),"P2P_LISTEN_ADDRS":f"/ip4/127.0.0.1/tcp/{l}"}
    env["P2P_EXTERNAL_ADDRS"]=f"/ip4/127.0.0.1/tcp/{l}"
    if i<nb: env["P2P_BOOTSTRAP"]="true"
    if boot: env["P2P_BOOTSTRAP_PEERS"]=",".join(boot)
    p=subprocess.Popen([prog,"run"],env=env,stdin=subprocess.DEVNULL,stdout=subprocess.DEVNULL,stderr=open(d+"/log","w"))
    nodes.append((p,m,l,d)); return m,l,d
def metrics(m):
    t=urllib.request.urlopen(f"http://127.0.0.1:{m}/metrics",timeout=20).read().decode()
    return {a:float(b) for a,b in re.findall(r"^([a-z_0-9]+(?:\{[^}]*\})?) (\S+)$",t,re.M)}
def pid(d):
    for _ in range(600):
        r=subprocess.run([prog,"--socket",d+"/data/control.sock","id","--json"],capture_output=True,text=True)
        if r.returncode==0: return json.loads(r.stdout)["peer_id"]
        time.sleep(0.2)
    raise SystemExit("no id")
try:
    boot=[]
    for i in range(nb):
        m,l,d=start(i,boot); boot.append(f"/ip4/127.0.0.1/tcp/{l}/p2p/{pid(d)}")
    for i in range(nb,n):
        start(i,boot); time.sleep(0.15)
    t0=time.time(); last=None
    while time.time()-t0 < minutes*60:
        time.sleep(60)
        s=[]
        for p,m,l,d in nodes:
            try: s.append(metrics(m))
            except Exception as e: s.append(None)
        ok=[x for x in s if x]
        op=sum(x["libp2p_connections_opened_total"] for x in ok)
        kept=sorted(x.get("libp2p_connections_kept",-1) for x in ok)
        act=sorted(x["libp2p_connections_active"] for x in ok)
        rss=sum(x["process_resident_memory_bytes"] for x in ok)/len(ok)/2**20
        cpu=sum(x["process_cpu_seconds_total"] for x in ok)
        err=sum(x.get('libp2p_connections_closed_total{cause="error"}',0) for x in ok)
        d="" if last is None else f"handshakes/node/min {(op-last[0])/2/len(ok)/((time.time()-last[1])/60):.3f} cpu/node {(cpu-last[2])/len(ok)/(time.time()-last[1])*100:.2f}%"
        print(f"{(time.time()-t0)/60:.1f}min nodes {len(ok)} kept min {kept[0]} med {kept[len(kept)//2]} max {kept[-1]} active min {act[0]} med {act[len(act)//2]} max {act[-1]} boot kept {[x.get('libp2p_connections_kept') for x in s[:nb] if x]} opened {op} errors {err} rss {rss:.1f}MiB {d}",flush=True)
        last=(op,time.time(),cpu)
finally:
    for p,*_ in nodes: p.kill()
    for p,*_ in nodes: p.wait()
