"""The words of `results/loader.md`: what is compared, how to read it, what it does not say."""

TEXT = """
{count} Sentinel-2 samples of 12 bands: {scenes} real patches in the symmetries of the square;
batches of 32; warm page cache; every subject in a process of its own and giving the same pixels
(compared before the first round). Tensors are float32 `[32, 12, 120, 120]`: subjects that store
uint16 are cast once per batch into memory that is taken again, the same for all and of the kind
ours has (numpy asks the system for large pages, torch does not); ours casts as it spreads coarse
bands. Case
`shuffled-w0-uint16` leaves the cast out; there `ours-packed` hands over the native planes, as for
a device that spreads them itself. `ours` stores native 10, 20 and 60 m planes, `ours-equal` the
same upsampled content as the peers. `w2`: `ours` with two reading processes, `ours-threads` with
two threads, the peers with two DataLoader workers; worker processes live from epoch to epoch for
all (`persistent_workers`) and were started before the first round that counts; their CPU time is
in the figures. litdata runs with `batch_decode=False`. Checksums of all samples are verified in
ours; of the peers HDF5, WebDataset, litdata, MosaicML, datasets and Arrow verify none here.
"""

FINDINGS = """
Where a sample's CPU time goes in ours (`shuffled-w0`, stages timed apart, best of several epochs):
decoding 81 us (half of that blosc2's bit transposition, which has no AVX2 for two-byte
values), spreading and casting 60 us (20 us of arithmetic; the rest is writing 0.7 MB of float32),
checksum 12 us, Python 7 us, finding the frame 4 us.

Mapped raw pixels (`hf-map`, `arrow-ipc`) need no decoding and take three times the bytes; without
workers they are level or ahead. Medians differ from run to run as the memory of the machine is used
by others: over five runs `hf-map` came to 0.83 to 1.18, WebDataset to 3.6 to 4.5 and the strongest
HDF5 to 2.6 to 3.4; the run of most rounds is the one above.

MosaicML's data set is made anew for each epoch without workers, 40 ms each time; made once and kept
it was not faster (medians of ten epochs: 0.73 ms of CPU a sample made anew, 0.85 ms kept), nor with
four times the samples an epoch (0.75 ms with 512, 0.70 ms with 2,048).
"""

NOT_MEASURED = (
    "a cold page cache",
    "object stores",
    "transfer to a GPU",
    "Sentinel-1",
    "data sets larger than memory",
)
