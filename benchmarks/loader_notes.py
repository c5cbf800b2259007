"""The words of `results/loader.md`: what is compared, how to read it, what it does not say."""

TEXT = """
{count} Sentinel-2 samples of 12 bands: {scenes} real patches in the symmetries of the square;
batches of 32; warm page cache; every subject in a process of its own and giving the same pixels
(compared before the first round). Tensors are float32 `[32, 12, 120, 120]`: subjects that store
uint16 are cast once per batch into memory that is taken again, the same for all; ours
casts as it spreads coarse bands. Case
`shuffled-w0-uint16` leaves the cast out; there `ours-packed` hands over the native planes, as for
a device that spreads them itself. `ours` stores native 10, 20 and 60 m planes, `ours-equal` the
same upsampled content as the peers. `w2`: `ours` with two reading processes, `ours-threads` with
two threads, the peers with two DataLoader workers; worker processes live from epoch to epoch for
all (`persistent_workers`) and were started before the first round that counts; their CPU time is
in the figures. litdata runs with `batch_decode=False`. Checksums of all samples are verified in
ours; of the peers HDF5, WebDataset, litdata, MosaicML, datasets and Arrow verify none here.
"""

FINDINGS = ""

NOT_MEASURED = (
    "a cold page cache",
    "object stores",
    "transfer to a GPU",
    "Sentinel-1",
    "data sets larger than memory",
)
